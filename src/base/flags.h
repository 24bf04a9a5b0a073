/* A command line of flags alone, spelled as pflag's: --name=value, --name value, --name for a truth; -v=4 and -v 4. The table of
 * flags is its owner's: an array of structs whose first member is the flag's name (NULL: a row that is no flag).
 *
 *     struct flags w = FLAGS_OF(argc, argv, rows, "unexpected argument:");
 *     struct span value;
 *     int rc;
 *     while ((rc = flags_next(&w, err)) > 0) {
 *             const struct flag *f = &rows[w.row];
 *             if ((rc = flags_value(&w, f->kind == FLAG_BOOL, &value, err)) < 0 || (rc = set(f, value, err)) < 0)
 *                     return rc;
 *     }
 *     if (rc < 0 || w.help) ...
 *
 * Not part of base.h: only programs with flags read it. */
#pragma once

#include "base/base.h"

struct flags {
	int argc;
	char **argv;       /* borrowed */
	const void *rows;
	size_t n_rows, row_size;
	const char *stray; /* what is said of an argument that is no flag, before the argument */
	/* after flags_next */
	size_t row;        /* which flag it is */
	bool help;         /* --help or -h: what stands behind it is not read */
	/* its own */
	int at;
	struct span value; /* ptr NULL: none behind a = */
};

#define FLAGS_OF(argc_, argv_, rows_, stray_)                                                        \
	((struct flags){ .argc = (argc_), .argv = (argv_), .rows = (rows_), .n_rows = ARRAY_LEN(rows_), \
			 .row_size = sizeof((rows_)[0]), .stray = (stray_) })

/* A line on standard output for each flag of the table: its name, and the text that is its row's member `help`. */
#define FLAGS_PRINT(rows_) flags_print((rows_), ARRAY_LEN(rows_), sizeof((rows_)[0]), offsetof(typeof((rows_)[0]), help))
void flags_print(const void *rows, size_t n_rows, size_t row_size, size_t help_at);

/* 1: a flag of the table, its value not yet taken. 0: the end, or help. Class USAGE: no flag ("STRAY x"), or none of the table
 * ("unknown flag: --x"). */
int flags_next(struct flags *w, struct err *err);
/* The value of the flag that flags_next found; call it once for each. is_truth: "true" when there is none behind a =; else it is
 * the next argument, whatever that looks like. Ends in a 0 byte, lives as long as argv. Class USAGE: "flag needs an argument:
 * --x". */
int flags_value(struct flags *w, bool is_truth, struct span *out, struct err *err);
