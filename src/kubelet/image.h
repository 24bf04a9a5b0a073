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

void kl_images_forget(struct kl_images *im, struct span uid); /* that pod is gone: so are its back-offs */

/* image_name.c. What distribution/reference would say against the name, in the arena; NULL: nothing. */
const char *kl_image_name_problem(struct arena *a, struct span image);
/* "docker.io/library/nginx" of "nginx:1": with registry, without tag and digest; in the arena. */
struct span kl_image_repository(struct arena *a, struct span image);
/* A key of .dockerconfigjson ("https://index.docker.io/v1/", "*.example.com/group") as it is compared; in the arena. */
struct span kl_image_key(struct arena *a, struct span key);
/* Is a key for that repository? A * stands for one label of the host's name, or a part of it; paths by their beginning. */
bool kl_image_key_fits(struct arena *a, struct span key, struct span repository);

struct kl_images *kl_images_new(struct kl *k);
void kl_images_free(struct kl_images *im);
void kl_images_begin(struct kl_images *im); /* the runtime is there: collection by disk thresholds begins */
void kl_images_collect(struct kl_images *im); /* now; by itself every five minutes */
/* The node has DiskPressure: collects now, if it is known what containers use. At each status of the node while it lasts. */
void kl_images_pressure(struct kl_images *im);
