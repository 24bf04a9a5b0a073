/* The status of a pod as the API shows it: a pure function of the object, the records and the items. Private to src/kubelet. */
#pragma once

#include "kubelet/pod.h"

struct kl_status_in {
	const struct kl_pod *pod;
	const struct json *old;     /* the status written before, or the object's; NULL: none. Times of conditions come from it */
	int64_t now_s, start_s;     /* start_s: when the kubelet took the pod */
	bool over;                  /* nothing of it runs, nothing will */
	bool initialized;
	const char *reason;         /* the pod was refused or ended by the kubelet: phase Failed with these once over; NULL: no */
	bool refused;               /* it was never let in */
	const char *message;
	struct span runtime;        /* "containerd": scheme of container ids */
};
/* Lies in the arena, borrows from the pod and from old. */
void kl_status_make(struct arena *a, const struct kl_status_in *in, struct json *out);
/* The patch that makes `to` of `from` (strategic merge of pods/STATUS); false: they say the same. */
bool kl_status_diff(struct arena *a, const struct json *from, const struct json *to, struct json *out);
