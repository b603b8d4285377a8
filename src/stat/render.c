/*
 * The three outputs of the statistics: for people, JSON, Prometheus.
 *
 * Rules
 * 1. All three are made from the same rows: none knows a counter by name.
 * 2. A key in JSON and Prometheus carries its unit (user_written_bytes), so that numbers are plain.
 * 3. Rows that share a name differ by a label "key=value": an object in JSON, a label in
 *    Prometheus.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "base/time.h"
#include "stat/snapshot.h"

#define KEY_MAX 96

static double hist_mean(const struct stat_hist *h)
{
	u64 count = hist_count(h);

	return count ? (double)h->sum / (double)count : 0.0;
}

static const char *label_value(const struct stat_row *row)
{
	const char *eq = strchr(row->label, '=');

	return eq ? eq + 1 : row->label;
}

/* name_unit, or the name alone if it says its unit already. */
static const char *row_key(const struct stat_row *row, const char *unit, char buf[static KEY_MAX])
{
	if (*unit == '\0' || strstr(row->name, unit))
		snprintf(buf, KEY_MAX, "%s", row->name);
	else
		snprintf(buf, KEY_MAX, "%s_%s", row->name, unit);
	return buf;
}

/* For people */

static void people_value(const struct stat_row *row, FILE *f)
{
	char text[SIZE_TEXT_MAX], time[DURATION_TEXT_MAX];

	if (row->kind == STAT_KIND_RATIO)
		fprintf(f, "%.3f", row->ratio);
	else if (strcmp(row->unit, "bytes") == 0)
		fprintf(f, "%llu (%s)", (unsigned long long)row->value,
			size_to_text(row->value, text));
	else if (strcmp(row->unit, "ns") == 0)
		fprintf(f, "%s", duration_to_text(row->value, time));
	else
		fprintf(f, "%llu%s%s", (unsigned long long)row->value, *row->unit ? " " : "",
			row->unit);
}

static void people_hist(const struct stat_row *row, FILE *f)
{
	static const unsigned permilles[] = { 500, 990, 999 };
	char text[DURATION_TEXT_MAX];

	fprintf(f, "%-22s %-18s %10llu %10s", row->name, label_value(row),
		(unsigned long long)hist_count(row->hist),
		duration_to_text((u64)hist_mean(row->hist), text));
	for (size_t i = 0; i < ARRAY_LEN(permilles); i++)
		fprintf(f, " %10s",
			duration_to_text(hist_percentile(row->hist, permilles[i]), text));
	fputc('\n', f);
}

static bool people_wants(const struct stat_row *row)
{
	switch (row->kind) {
	case STAT_KIND_GAUGE:
		return true;
	case STAT_KIND_COUNTER:
		return row->value != 0;
	case STAT_KIND_RATIO:
		return row->has_ratio;
	case STAT_KIND_HIST:
		return hist_count(row->hist) != 0;
	}
	return false;
}

int stat_render_people(const struct stat_snapshot *snap, FILE *f)
{
	bool header = false;

	for (size_t i = 0; i < snap->nr_rows; i++) {
		const struct stat_row *row = &snap->rows[i];

		if (!people_wants(row))
			continue;
		if (row->kind != STAT_KIND_HIST) {
			fprintf(f, "%-28s %-10s ", row->name, row->label);
			people_value(row, f);
			fputc('\n', f);
			continue;
		}
		if (!header)
			fprintf(f, "\n%-22s %-18s %10s %10s %10s %10s %10s\n", "time", "of",
				"count", "mean", "p50", "p99", "p99.9");
		header = true;
		people_hist(row, f);
	}
	return 0;
}

/* JSON */

static struct json_object *json_hist(const struct stat_row *row)
{
	static const struct {
		const char *key;
		unsigned permille;
	} parts[] = { { "p50", 500 }, { "p99", 990 }, { "p999", 999 } };
	struct json_object *o = json_object_new_object();

	if (!o)
		return NULL;
	json_object_object_add(o, "count", json_object_new_uint64(hist_count(row->hist)));
	json_object_object_add(o, "sum", json_object_new_uint64(row->hist->sum));
	json_object_object_add(o, "mean", json_object_new_uint64((u64)hist_mean(row->hist)));
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		json_object_object_add(
			o, parts[i].key,
			json_object_new_uint64(hist_percentile(row->hist, parts[i].permille)));
	return o;
}

static struct json_object *json_value(const struct stat_row *row)
{
	switch (row->kind) {
	case STAT_KIND_RATIO:
		return row->has_ratio ? json_object_new_double(row->ratio) : NULL;
	case STAT_KIND_HIST:
		return json_hist(row);
	case STAT_KIND_COUNTER:
	case STAT_KIND_GAUGE:
		break;
	}
	return json_object_new_uint64(row->value);
}

/* The object that the row's value belongs into: @top, or the one with the row's name in it. */
static struct json_object *json_parent(struct json_object *top, const struct stat_row *row,
				       const char *key)
{
	struct json_object *parent;

	if (*row->label == '\0')
		return top;
	if (json_object_object_get_ex(top, key, &parent))
		return parent;
	parent = json_object_new_object();
	if (parent)
		json_object_object_add(top, key, parent);
	return parent;
}

int stat_render_json(const struct stat_snapshot *snap, FILE *f)
{
	struct json_object *top = json_object_new_object();
	const char *text = NULL;
	char key[KEY_MAX];

	for (size_t i = 0; top && i < snap->nr_rows; i++) {
		const struct stat_row *row = &snap->rows[i];
		struct json_object *parent;

		row_key(row, row->unit, key);
		parent = json_parent(top, row, key);
		if (parent)
			json_object_object_add(parent, *row->label ? label_value(row) : key,
					       json_value(row));
	}
	if (top)
		text = json_object_to_json_string_ext(
			top, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED);
	if (text)
		fprintf(f, "%s\n", text);
	json_object_put(top);
	return text ? 0 : -ENOMEM;
}

/* Prometheus: durations in seconds, histograms as summaries */

static void prometheus_head(const struct stat_row *row, const char *metric, FILE *f)
{
	static const char *const types[] = {
		[STAT_KIND_COUNTER] = "counter",
		[STAT_KIND_GAUGE] = "gauge",
		[STAT_KIND_RATIO] = "gauge",
		[STAT_KIND_HIST] = "summary",
	};

	fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", metric, row->help, metric, types[row->kind]);
}

/* {key="value",quantile="0.5"}, as far as there are any. */
static void prometheus_labels(const struct stat_row *row, const char *quantile, FILE *f)
{
	bool label = *row->label != '\0';

	if (!label && !quantile)
		return;
	fputc('{', f);
	if (label)
		fprintf(f, "%.*s=\"%s\"", (int)strcspn(row->label, "="), row->label,
			label_value(row));
	if (quantile)
		fprintf(f, "%squantile=\"%s\"", label ? "," : "", quantile);
	fputc('}', f);
}

static void prometheus_hist(const struct stat_row *row, const char *metric, double scale, FILE *f)
{
	static const struct {
		const char *text;
		unsigned permille;
	} quantiles[] = { { "0.5", 500 }, { "0.99", 990 }, { "0.999", 999 } };

	for (size_t i = 0; i < ARRAY_LEN(quantiles); i++) {
		fputs(metric, f);
		prometheus_labels(row, quantiles[i].text, f);
		fprintf(f, " %.9g\n",
			(double)hist_percentile(row->hist, quantiles[i].permille) * scale);
	}
	fprintf(f, "%s_sum", metric);
	prometheus_labels(row, NULL, f);
	fprintf(f, " %.9g\n%s_count", (double)row->hist->sum * scale, metric);
	prometheus_labels(row, NULL, f);
	fprintf(f, " %llu\n", (unsigned long long)hist_count(row->hist));
}

static void prometheus_row(const struct stat_row *row, const char *metric, FILE *f)
{
	bool ns = strcmp(row->unit, "ns") == 0;

	if (row->kind == STAT_KIND_HIST) {
		prometheus_hist(row, metric, ns ? 1e-9 : 1.0, f);
		return;
	}
	fputs(metric, f);
	prometheus_labels(row, NULL, f);
	if (row->kind == STAT_KIND_RATIO)
		fprintf(f, " %.9g\n", row->ratio);
	else if (ns)
		fprintf(f, " %.9g\n", (double)row->value * 1e-9);
	else
		fprintf(f, " %llu\n", (unsigned long long)row->value);
}

int stat_render_prometheus(const struct stat_snapshot *snap, FILE *f)
{
	char key[KEY_MAX], metric[KEY_MAX + 32], last[KEY_MAX + 32] = "";

	for (size_t i = 0; i < snap->nr_rows; i++) {
		const struct stat_row *row = &snap->rows[i];
		bool ns = strcmp(row->unit, "ns") == 0;

		if (row->kind == STAT_KIND_RATIO && !row->has_ratio)
			continue;
		snprintf(metric, sizeof(metric), "foliofs_%s%s",
			 row_key(row, ns ? "seconds" : row->unit, key),
			 row->kind == STAT_KIND_COUNTER ? "_total" : "");
		if (strcmp(metric, last) != 0)
			prometheus_head(row, metric, f);
		memcpy(last, metric, sizeof(last));
		prometheus_row(row, metric, f);
	}
	return 0;
}

int stat_format_parse(const char *name, enum stat_format *out)
{
	static const char *const names[] = {
		[STAT_TEXT] = "text",
		[STAT_JSON] = "json",
		[STAT_PROMETHEUS] = "prometheus",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(name, names[i]) == 0) {
			*out = (enum stat_format)i;
			return 0;
		}
	}
	return -EINVAL;
}

int stat_render(enum stat_format format, FILE *f)
{
	static int (*const renderers[])(const struct stat_snapshot *, FILE *) = {
		[STAT_TEXT] = stat_render_people,
		[STAT_JSON] = stat_render_json,
		[STAT_PROMETHEUS] = stat_render_prometheus,
	};
	struct stat_snapshot snap;
	int err = stat_snapshot_new(&snap);

	if (err)
		return err;
	err = renderers[format](&snap, f);
	stat_snapshot_free(&snap);
	if (!err && (fflush(f) != 0 || ferror(f)))
		err = -EIO;
	return err;
}

int stat_render_text(enum stat_format format, char **out)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int err;

	if (!f)
		return -ENOMEM;
	err = stat_render(format, f);
	if (fclose(f) != 0 && !err)
		err = -ENOMEM;
	if (err)
		free(text);
	else
		*out = text;
	return err;
}
