/* What an applet is: a name, a function that ends with an exit status, and one line of help. */
#pragma once

/* argv[0] is the applet's name, whatever name the program was called by. Returns the exit status. */
typedef int applet_fn(int argc, char **argv);

struct applet {
	const char *name;
	applet_fn *run;
	const char *help; /* NULL = not listed */
};

/* Reports loaded objects and private memory on descriptor 2 when KNARR_SIZE=1; called last by each program. */
void size_report(void);
