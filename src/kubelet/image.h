/* Images of the node: pulled when a container needs one, by its policy, with back-off; removed when the disk is full.
 * Private to src/kubelet. */
#pragma once

#include "kubelet/cri.h"
#include "kubelet/pod.h"

struct kl_image_want;
struct kl_image_params {
	struct kl_pod *pod;
	unsigned index; /* whose image */
	/* Once, never inside kl_image_get. image NULL: reason is "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull",
	 * "InvalidImageName", "ImageInspectError"; it makes no sense to ask again before retry_ns (wall clock). image and message
	 * live for the call. */
	void (*done)(const struct api_cri_image *image, const char *reason, struct span message, int64_t retry_ns, void *arg);
	void *arg;
};
struct kl_image_want *kl_image_get(struct kl *k, const struct kl_image_params *p);
void kl_image_cancel(struct kl_image_want *w); /* a pull goes on for the others, and for the next one */

struct kl_images *kl_images_new(struct kl *k);
void kl_images_free(struct kl_images *im);
void kl_images_begin(struct kl_images *im); /* the runtime is there: collection by disk thresholds begins */
