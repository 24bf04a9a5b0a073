/* Syntax of names: what apimachinery's util/validation checks, in its words. Part of the seam of api.
 *
 * A check answers with the number of complaints, 0 = good, and puts them into out (borrowed for ever; out may be NULL):
 *
 *     struct api_complaints bad;
 *     if (api_name_dns1123_label(name, &bad))
 *             for (unsigned i = 0; i < bad.n; i++) ... bad.text[i]
 *             // "a lowercase RFC 1123 label must consist of ... (e.g. 'my-name',  or '123-abc', regex used for ...)"
 *
 * Pure functions, linear in the length, no allocation. */
#pragma once

#include "base/base.h"

#define API_COMPLAINTS_MAX 6
struct api_complaints {
	unsigned n;
	const char *text[API_COMPLAINTS_MAX];
};
typedef unsigned api_name_fn(struct span s, struct api_complaints *out);

api_name_fn api_name_dns1123_label;
api_name_fn api_name_dns1123_subdomain;
api_name_fn api_name_dns1123_subdomain_underscore;
api_name_fn api_name_dns1035_label;
api_name_fn api_name_wildcard_subdomain;
api_name_fn api_name_qualified;       /* label keys, annotation keys (after lower-casing), finalizers, condition types */
api_name_fn api_name_label_value;
api_name_fn api_name_path_segment;    /* names of most objects: no "/", "%", ".", ".." */
api_name_fn api_name_path_prefix;     /* generateName: as path_segment, but "." and ".." may begin a name */
api_name_fn api_name_port;            /* IANA_SVC_NAME */
api_name_fn api_name_env_var;
api_name_fn api_name_env_var_relaxed; /* RelaxedEnvironmentVariableValidation */
api_name_fn api_name_config_key;      /* keys of ConfigMap and Secret */
api_name_fn api_name_c_identifier;
api_name_fn api_name_percent;
api_name_fn api_name_http_header;
api_name_fn api_name_condition_reason;
/* Finalizers, domains and paths, with the words of a field error's detail behind "Invalid value: ...: ". */
api_name_fn api_name_fully_qualified; /* at least three segments */
api_name_fn api_name_fqdn;            /* at least two segments, a closing dot allowed */
/* For a prefix such as "web-": the rules of a whole name with what generateName will add (a dash at the end becomes "a"). */
unsigned api_name_as_prefix(api_name_fn *check, struct span prefix, struct api_complaints *out);

api_name_fn api_port_number;   /* decimal text from 1 to 65535 */
unsigned api_port_check(int64_t port, struct api_complaints *out);
unsigned api_user_id_check(int64_t id, struct api_complaints *out); /* users and groups: 0 to 2147483647 */

/* ---- addresses */
struct api_ip {
	uint8_t bytes[16]; /* IPv4 in the first four */
	uint8_t len;       /* 4 or 16 */
	bool mapped;       /* was written as ::ffff:1.2.3.4; bytes then hold the IPv4 address */
	bool sloppy;       /* had leading zeros in a decimal part */
};
/* Go's net.ParseIP as Kubernetes uses it: leading zeros in IPv4 parts are decimal; no zones. */
bool api_ip_parse(struct span s, struct api_ip *out);
bool api_cidr_parse(struct span s, struct api_ip *out, unsigned *out_bits);
/* IPv4 dotted, IPv6 as RFC 5952. out must hold 46 bytes; returns the length. */
size_t api_ip_print(const struct api_ip *ip, char out[46]);
/* Clears the bits behind the prefix; true when some were set. */
bool api_ip_mask(struct api_ip *ip, unsigned bits);

/* The checks of fields. LEGACY accepts what old objects hold; STRICT refuses leading zeros and mapped addresses (and, for
 * CIDRs, bits behind the prefix); CANONICAL also wants the canonical text. Complaints that quote live in the arena. */
enum api_ip_mode { API_IP_LEGACY, API_IP_STRICT, API_IP_CANONICAL };
unsigned api_ip_check(struct arena *a, struct span s, enum api_ip_mode mode, struct api_complaints *out);
unsigned api_cidr_check(struct arena *a, struct span s, enum api_ip_mode mode, struct api_complaints *out);
