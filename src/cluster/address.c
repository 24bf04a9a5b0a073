/* The addresses of this machine that others may know it by. The node's is one of IPv4: nothing of ours listens at another yet. */
#include "cluster/private.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <ifaddrs.h>
#include <net/if.h>

/* Of containers and pods, ours and others': they come and go, and nobody outside this machine reaches it by what they have. What
 * begins like one of them may be an administrator's all the same: br0, vmbr0, vlan5. */
static bool is_containers(const char *name)
{
	static const char *const begin[] = { "docker", "knarr0",  "kh-",    "br-", "veth", "virbr",
					     "cni",    "flannel", "podman", "lxc", "lxd" };
	struct span n = span_of(name);
	for (size_t i = 0; i < ARRAY_LEN(begin); i++)
		if (span_starts(n, span_of(begin[i])))
			return true;
	/* kID-x of a pod, brID-x of a network */
	size_t at = span_starts(n, SPAN("br")) ? 2 : 1, digits = at;
	while (digits < n.len && isxdigit((unsigned char)name[digits]))
		digits++;
	return (name[0] == 'k' || at == 2) && digits > at && name[digits] == '-';
}

/* By the way to other machines; empty: there is none. */
static struct span by_route(struct arena *a)
{
	/* A datagram socket that is connected sends nothing, but has chosen its address (TEST-NET-1, RFC 5737). */
	auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) }, from;
	socklen_t len = sizeof(from);
	char text[INET_ADDRSTRLEN];
	to.sin_addr.s_addr = htonl(0xc0000201);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 || getsockname(fd, (struct sockaddr *)&from, &len) < 0 ||
	    from.sin_addr.s_addr == htonl(INADDR_ANY) || ntohl(from.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET)
		return SPAN_EMPTY;
	return arena_span(a, span_of(inet_ntop(AF_INET, &from.sin_addr, text, sizeof(text))));
}

/* An address that is good beyond its own link (RFC 3927) and machine. */
static bool is_global(const struct sockaddr_in *in)
{
	uint32_t at = ntohl(in->sin_addr.s_addr);
	return at >> 24 != IN_LOOPBACKNET && at >> 24 != 0 && at >> 16 != 0xa9fe && !IN_MULTICAST(at);
}

struct span cluster_outward_address(struct arena *a, const char **out_of)
{
	struct ifaddrs *list = NULL, *i;
	struct span found = by_route(a);
	char text[INET_ADDRSTRLEN];
	if (out_of)
		*out_of = NULL;
	if (found.len || getifaddrs(&list) < 0)
		return found;
	/* With a carrier; without; the loopback's, which a machine has whose links have no numbers of their own. */
	for (unsigned round = 0; round < 3 && !found.len; round++)
		for (i = list; i && !found.len; i = i->ifa_next) {
			unsigned flags = i->ifa_flags;
			bool loopback = flags & IFF_LOOPBACK;
			if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !(flags & IFF_UP) || is_containers(i->ifa_name) ||
			    loopback != (round == 2) || (round == 0 && !(flags & IFF_RUNNING)))
				continue;
			struct sockaddr_in in;
			memcpy(&in, i->ifa_addr, sizeof(in));
			if (!is_global(&in) || !inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text)))
				continue;
			found = arena_span(a, span_of(text));
			if (out_of)
				*out_of = arena_span(a, span_of(i->ifa_name)).ptr;
		}
	freeifaddrs(list);
	return found;
}

static bool listed(const char **list, unsigned n, const char *wanted)
{
	for (unsigned i = 0; i < n; i++)
		if (strcmp(list[i], wanted) == 0)
			return true;
	return false;
}

unsigned cluster_addresses(struct arena *a, const char **out, unsigned cap)
{
	struct ifaddrs *list, *i;
	unsigned n = 0;
	struct span first = cluster_outward_address(a, NULL);
	if (first.len && n < cap)
		out[n++] = first.ptr;
	if (getifaddrs(&list) < 0)
		return n;
	for (i = list; i && n < cap; i = i->ifa_next) {
		char text[INET6_ADDRSTRLEN];
		if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) || i->ifa_flags & IFF_LOOPBACK || is_containers(i->ifa_name))
			continue;
		int family = i->ifa_addr->sa_family;
		const void *at = family == AF_INET	? (void *)&((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr
				 : family == AF_INET6 ? (void *)&((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr
						      : NULL;
		if (!at || (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL((const struct in6_addr *)at)))
			continue;
		if (inet_ntop(family, at, text, sizeof(text)) && !listed(out, n, text))
			out[n++] = arena_span(a, span_of(text)).ptr;
	}
	freeifaddrs(list);
	return n;
}
