/*
 * Reports of the check: problems and progress, handed to the caller's functions, or collected with
 * what repairs them.
 *
 * Rule: a problem is counted whether somebody listens or not; formatting its text costs only when
 * somebody does. One thread, no locks.
 */
#include "check/check_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX (NAME_TEXT_MAX + 400)

#define CHECK_CODE_NAME_(code, name) [CHECK_##code] = name,
static const char *const code_names[CHECK_NR] = { CHECK_CODES(CHECK_CODE_NAME_) };

static const struct {
	enum fix_stage stage;
	bool loses;
} kinds[FIX_NR] = {
#define FIX_KIND_(kind, stage, loses) [FIX_##kind] = { stage, loses },
	FIX_KINDS(FIX_KIND_)
};

const char *check_code_name(enum check_code code)
{
	return (unsigned)code < CHECK_NR ? code_names[code] : "unknown";
}

bool fix_loses(enum fix_kind k)
{
	return kinds[k].loses;
}

enum fix_stage fix_stage(enum fix_kind k)
{
	return kinds[k].stage;
}

const char *name_text(char *buf, const char *name, u32 len)
{
	char *out = buf;

	for (u32 i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c < 0x20 || c == 0x7f || c == '\\')
			out += sprintf(out, "\\x%02x", c);
		else
			*out++ = (char)c;
	}
	*out = 0;
	return buf;
}

const char *damage_text(int err)
{
	return err == -EBADMSG ? "wrong checksum" : err == -EUCLEAN ? "damaged" : err_text(err);
}

/* ---- collecting ---- */

static int findings_grow(struct findings *fs)
{
	u32 max = fs->max ? fs->max * 2 : 64;
	void *p;

	if (fs->nr < fs->max)
		return 0;
	p = realloc(fs->f, max * sizeof(*fs->f));
	if (!p)
		return -ENOMEM;
	fs->f = p;
	fs->max = max;
	return 0;
}

static void finding_add(struct check *c, enum check_code code, const struct fix *fix,
			const char *text)
{
	struct findings *fs = c->findings;
	char *copy;

	if (fs->nr >= FINDINGS_MAX) {
		fs->more = true;
		return;
	}
	copy = strdup(text);
	if (!copy || findings_grow(fs)) {
		free(copy);
		c->err = -ENOMEM;
		return;
	}
	fs->f[fs->nr++] = (struct finding){ .code = code, .ino = fix->ino, .sector = fix->sector,
					    .text = copy, .fix = *fix };
}

void findings_free(struct findings *fs)
{
	for (u32 i = 0; i < fs->nr; i++)
		free(fs->f[i].text);
	free(fs->f);
	*fs = (struct findings){ 0 };
}

/* ---- reporting ---- */

static void tell(struct check *c, enum check_code code, const struct fix *fix, const char *fmt,
		 va_list ap)
{
	struct check_problem p = { .code = code, .ino = fix->ino, .sector = fix->sector };
	char text[TEXT_MAX];

	c->res->problems++;
	c->res->by_code[code]++;
	c->res->fixable += fix->kind != FIX_NONE;
	if (c->opts->max_problems && c->res->problems >= c->opts->max_problems)
		c->res->stopped = true;
	if (!c->findings && !c->opts->problem)
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	p.text = text;
	if (c->findings)
		finding_add(c, code, fix, text);
	else
		c->opts->problem(c->opts->arg, &p);
}

void report(struct check *c, enum check_code code, u64 ino, u64 sector, const char *fmt, ...)
{
	struct fix none = { .kind = FIX_NONE, .ino = ino, .sector = sector };
	va_list ap;

	va_start(ap, fmt);
	tell(c, code, &none, fmt, ap);
	va_end(ap);
}

void report_fix(struct check *c, enum check_code code, struct fix fix, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(c, code, &fix, fmt, ap);
	va_end(ap);
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
