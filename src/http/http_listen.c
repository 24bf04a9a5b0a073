/* Listening sockets, and what can be said of the other end of a socket. */
#include "http/http_impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>

enum { BACKLOG = 4096 };

int http_listen_tcp(const char *host, unsigned port, unsigned flags, struct err *err)
{
	char service[8];
	snprintf(service, sizeof(service), "%u", port & 0xffff);
	bool any = !host || !*host;
	struct addrinfo hints = { .ai_family = any ? AF_INET6 : AF_UNSPEC, .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV | AI_NUMERICHOST }, *list = NULL;
	int rc = getaddrinfo(any ? NULL : host, service, &hints, &list);
	if (rc)
		return err_set(err, ERR_INVALID, "listening on \"%s\" port %u: %s", any ? "" : host, port, gai_strerror(rc));
	auto_fd int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_storage addr;
	socklen_t addr_len = list->ai_addrlen;
	memcpy(&addr, list->ai_addr, addr_len);
	freeaddrinfo(list);
	if (fd < 0 && any && errno == EAFNOSUPPORT) { /* a kernel without IPv6 */
		struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
		memcpy(&addr, &v4, sizeof(v4));
		addr_len = sizeof(v4);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	}
	int one = 1, zero = 0;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    (any && addr.ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)) < 0) ||
	    (flags & HTTP_REUSEPORT && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0) ||
	    bind(fd, (struct sockaddr *)&addr, addr_len) < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(err, "listening on \"%s\" port %u", any ? "" : host, port);
	return take_fd(&fd);
}

int http_listen_unix(const char *path, mode_t mode, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(err, ERR_INVALID, "socket path %s: longer than %zu bytes", path, sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(err, "listening on %s", path);
	/* The mode is right from the first moment: nobody can connect between bind and chmod. */
	(void)fchmod(fd, mode);
	int rc = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
	if (rc < 0 && errno == EADDRINUSE) {
		auto_fd int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (probe >= 0 && connect(probe, (struct sockaddr *)&addr, sizeof(addr)) < 0 && errno == ECONNREFUSED) {
			(void)unlink(path);
			rc = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
		} else {
			return err_set(err, ERR_IN_USE, "listening on %s: somebody listens there already", path);
		}
	}
	if (rc < 0 || chmod(path, mode) < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(err, "listening on %s", path);
	return take_fd(&fd);
}

unsigned http_fd_port(int fd)
{
	struct sockaddr_storage addr = {};
	socklen_t len = sizeof(addr);
	if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return 0;
	if (addr.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&addr)->sin_port);
	if (addr.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&addr)->sin6_port);
	return 0;
}

void http_peer_of_socket(struct http_peer *p, int sock)
{
	p->addr_len = sizeof(p->addr);
	if (getpeername(sock, (struct sockaddr *)&p->addr, &p->addr_len) < 0)
		p->addr_len = 0;
	char host[INET6_ADDRSTRLEN] = "";
	if (p->addr_len && p->addr.ss_family == AF_INET) {
		const struct sockaddr_in *a = (const void *)&p->addr;
		inet_ntop(AF_INET, &a->sin_addr, host, sizeof(host));
		snprintf(p->text, sizeof(p->text), "%s:%u", host, ntohs(a->sin_port));
	} else if (p->addr_len && p->addr.ss_family == AF_INET6) {
		const struct sockaddr_in6 *a = (const void *)&p->addr;
		if (IN6_IS_ADDR_V4MAPPED(&a->sin6_addr)) {
			inet_ntop(AF_INET, a->sin6_addr.s6_addr + 12, host, sizeof(host));
			snprintf(p->text, sizeof(p->text), "%s:%u", host, ntohs(a->sin6_port));
		} else {
			inet_ntop(AF_INET6, &a->sin6_addr, host, sizeof(host));
			snprintf(p->text, sizeof(p->text), "[%s]:%u", host, ntohs(a->sin6_port));
		}
	} else {
		p->is_unix = true;
		socklen_t len = sizeof(p->cred);
		if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &p->cred, &len) < 0)
			p->cred = (struct ucred){ .pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1 };
		snprintf(p->text, sizeof(p->text), "unix");
	}
}

void http_keep_alive(int sock)
{
	int one = 1, idle_s = 15, every_s = 15;
	(void)setsockopt(sock, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	(void)setsockopt(sock, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(sock, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof(every_s));
}

struct span http_peer_host(const struct http_peer *p)
{
	struct span host = span_of(p->text);
	if (p->is_unix)
		return SPAN_EMPTY;
	host = span_sub(host, 0, (size_t)span_rchr(host, ':'));
	return host.ptr[0] == '[' ? span_sub(host, 1, host.len - 1) : host;
}
