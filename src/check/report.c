/*
 * Reports of the check: problems and progress, handed to the caller's functions.
 *
 * Rule: a problem is counted whether somebody listens or not; formatting its text costs only when
 * somebody does. One thread, no locks.
 */
#include "check/check_priv.h"

#include <stdarg.h>
#include <stdio.h>

#define CHECK_CODE_NAME_(code, name) [CHECK_##code] = name,
static const char *const code_names[CHECK_NR] = { CHECK_CODES(CHECK_CODE_NAME_) };

const char *check_code_name(enum check_code code)
{
	return (unsigned)code < CHECK_NR ? code_names[code] : "unknown";
}

void report(struct check *c, enum check_code code, u64 ino, u64 sector, const char *fmt, ...)
{
	struct check_problem p = { .code = code, .ino = ino, .sector = sector };
	char text[512];
	va_list ap;

	c->res->problems++;
	c->res->by_code[code]++;
	if (c->opts->max_problems && c->res->problems >= c->opts->max_problems)
		c->res->stopped = true;
	if (!c->opts->problem)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p.text = text;
	c->opts->problem(c->opts->arg, &p);
}

void progress(struct check *c, unsigned pass, u64 done, u64 total)
{
	if (c->opts->progress)
		c->opts->progress(c->opts->arg, pass, MIN(done, total), total);
}

bool check_stopped(void *check)
{
	struct check *c = check;

	return c->res->stopped || c->err;
}
