/* What probes and hooks do: a command inside a container, an HTTP request, a connection, a gRPC health check, or sleeping.
 * Private to src/kubelet. */
#pragma once

#include "kubelet/pod.h"

enum kl_result { KL_SUCCESS, KL_FAILURE, KL_UNKNOWN_RESULT /* could not be tried */ };

struct kl_action;
struct kl_action_params {
	struct kl_pod *pod;
	const struct api_core_container *container; /* named ports are its own; borrowed for the call */
	struct span id;                             /* of the container in the runtime */
	const struct api_core_exec_action *exec;    /* one of these; borrowed for the call */
	const struct api_core_http_get_action *http_get;
	const struct api_core_tcp_socket_action *tcp_socket;
	const struct api_core_grpc_action *grpc;
	const struct api_core_sleep_action *sleep;
	unsigned timeout_ms; /* 0: two minutes */
	bool probe;          /* User-Agent, and which answers are failures, are a probe's */
	/* Once, never inside kl_action_begin. The message lives for the call; upstream's words behind "probe failed: ". */
	void (*done)(enum kl_result result, struct span message, void *arg);
	void *arg;
};
struct kl_action *kl_action_begin(const struct kl_action_params *p);
void kl_action_cancel(struct kl_action *a); /* nothing is told */
