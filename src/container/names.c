/* Names of containers: what is allowed, and names made up for those who give none. */
#include <stdio.h>

#include "container/private.h"

/* Docker's RestrictedNamePattern: [a-zA-Z0-9][a-zA-Z0-9_.-]+ */
bool container_name_ok(struct span name)
{
	if (name.len < 2 || name.len > 255)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char ch = name.ptr[i];
		bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9');
		if (!plain && (i == 0 || (ch != '_' && ch != '.' && ch != '-')))
			return false;
	}
	return true;
}

static const char moods[][10] = {
	"able",	   "agile",   "airy",	 "amber",   "ample",   "apt",	 "ardent",  "azure",   "balmy",	  "bold",    "brave",
		"breezy",
	"bright",  "brisk",   "calm",	 "candid",  "careful", "chatty", "cheery",  "chief",   "civil",	  "clean",   "clear",
		"clever",
	"cosy",	   "crisp",   "curious", "daring",  "deft",    "dapper", "eager",   "early",   "easy",	  "elated",  "exact",   "fair",
	"famous",  "fearless", "fine",	 "fleet",   "fluent",  "fond",	 "frank",   "free",    "fresh",	  "frosty",  "gentle",  "glad",
	"golden",  "grand",   "handy",	 "happy",   "hardy",   "hearty", "honest",  "hopeful", "humble",  "icy",     "jolly",
		"jovial",
	"keen",	   "kind",    "lively",	 "loyal",   "lucid",   "lucky",	 "mellow",  "merry",   "mighty",  "modest",  "mossy",   "neat",
	"nimble",  "noble",   "patient", "plucky",  "polite",  "prime",	 "proud",   "prudent", "quick",	  "quiet",   "rapid",
		"ready",
	"robust",  "rustic",  "salty",	 "serene",  "sharp",   "shiny",	 "silver",  "sincere", "smart",	  "snug",    "solid",   "spry",
	"steady",  "sturdy",  "sunny",	 "swift",   "tidy",    "tough",	 "tranquil", "trusty", "upbeat",  "valiant", "vivid",   "warm",
	"windy",   "wise",    "witty",	 "zesty",
};
/* Who sailed, measured, built or thought. */
static const char people[][13] = {
	"abel",	     "agnesi",	 "amundsen",  "ampere",	  "archimedes", "bardeen",   "bassi",	  "bell",     "bering",	   "bernoulli",
	"bohr",	     "boole",	 "borlaug",   "brahe",	  "bransfield", "cabot",     "cannon",	  "carson",   "cartier",   "cavendish",
	"chandra",   "cook",	 "copernicus", "curie",	  "darwin",	"davy",	     "diesel",	  "dijkstra", "dirac",	   "edison",
	"einstein",  "elcano",	 "ericson",   "euclid",	  "euler",	"faraday",   "fermat",	  "fermi",    "feynman",   "franklin",
	"fulton",    "galileo",	 "gama",      "gauss",	  "germain",	"goodall",   "gudrid",	  "halley",   "hamilton",
		"heisenberg",
	"herschel",  "hertz",	 "hodgkin",   "hooke",	  "hopper",	"hudson",    "huygens",	  "hypatia",  "jenner",	   "joule",
	"kepler",    "khayyam",	 "kovalevskaya", "lamarr", "lavoisier", "leavitt",   "leibniz",	  "lister",   "lovelace",  "magellan",
	"marconi",   "maxwell",	 "mayer",     "meitner",  "mendel",	"mendeleev", "mercator",  "meucci",   "mirzakhani", "nansen",
	"napier",    "newton",	 "nightingale", "noether", "nobel",	"ohm",	     "oppenheimer", "pascal", "pasteur",   "pauling",
	"planck",    "polo",	 "ptolemy",   "raman",	  "ramanujan",	"ritchie",   "rubin",	  "rutherford", "shannon",
		"somerville",
	"stevin",    "tesla",	 "thales",    "torvalds", "turing",	"vespucci",  "volta",	  "watt",     "wright",	   "zheng",
};

void container_name_make(struct rng *r, unsigned attempt, struct buf *out)
{
	buf_printf(out, "%s_%s", moods[rng_below(r, ARRAY_LEN(moods))], people[rng_below(r, ARRAY_LEN(people))]);
	if (attempt) /* the short ones are taken */
		buf_printf(out, "%u", (unsigned)rng_below(r, attempt < 6 ? 10 : 1000000));
}
