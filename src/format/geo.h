/* Inside format: the derived fields of struct fmt_geo and their rules. */
#ifndef FOLIOFS_FORMAT_GEO_H
#define FOLIOFS_FORMAT_GEO_H

#include "format/format.h"

/* Sets bitmap_nr and map_nr from group_sectors (any value). */
void geo_derive(struct fmt_geo *g);

/* Which of the rules that the rest of the program relies on is broken. */
enum why geo_why(const struct fmt_geo *g);

#endif
