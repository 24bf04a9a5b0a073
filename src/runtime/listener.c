/* A seccomp filter that asks somebody (SCMP_ACT_NOTIFY): its listener goes from the process that loaded it to the socket at
 * linux.seccomp.listenerPath (runtime spec, config-linux.md, The Container Process State). Apart from seccomp.c, because
 * who only starts containers needs no libseccomp. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/plan.h"

static int listener_send(const struct json *profile, int listener, const struct state *s,
			 enum runtime_state_status status, struct err *err)
{
	auto_arena struct arena a = {};
	const char *path = arena_cstr(&a, json_span(json_getl(profile, "listenerPath")));
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	auto_buf struct buf state = {}, text = {};
	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(err, ERR_INVALID, "linux.seccomp.listenerPath: longer than %zu bytes",
			       sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	auto_fd int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(err, "linux.seccomp.listenerPath: connect to %s", path);
	runtime_state_json(&state, s, status, false);
	struct json_out o = { .buf = &text };
	json_out_begin(&o);
	json_out_kspan(&o, "ociVersion", span_of(s->oci_version));
	json_out_key(&o, SPAN("fds"));
	json_out_begin_array(&o);
	json_out_span(&o, SPAN("seccompFd"));
	json_out_end(&o);
	json_out_ki64(&o, "pid", s->pid);
	json_out_kspan(&o, "metadata", json_span(json_getl(profile, "listenerMetadata")));
	json_out_key(&o, SPAN("state"));
	json_out_raw(&o, buf_span(&state));
	json_out_end(&o);
	struct iovec iov = { text.ptr, text.len };
	return sys_message_send(sock, &iov, 1, &listener, 1, 0) == (ssize_t)text.len
		       ? 0
		       : err_sys(err, "linux.seccomp.listenerPath: send to %s", path);
}

int runtime_listener_serve(const struct json *profile, const struct state *s, enum runtime_state_status status, int pidfd,
			   int number, struct err *err)
{
	auto_fd int listener = sys_pidfd_getfd(pidfd, number);
	if (listener < 0)
		return err_sys(err, "linux.seccomp.listenerPath: fetch the notification descriptor");
	return listener_send(profile, listener, s, status, err);
}
