/* The hooks of block.h: one a thread, set by that thread alone. */
#include "base/block.h"

__thread block_hook_fn block_hook_;
__thread void *block_hook_arg_;
__thread u64 block_ns_[BLOCK_KINDS];
