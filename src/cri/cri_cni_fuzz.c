/* What others write and we read: a conflist and a plugin's result (parted by a 0 byte), and /proc/net/dev. */
#include "cri/private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	struct span text = span_make(data, size), first, second, ips[CRI_IPS_MAX];
	struct json list, result = JSON_NULL_VALUE;
	struct api_cri_network_interface_usage *interfaces;
	(void)span_split(text, 0, &first, &second);
	if (json_parse(&a, first, JSON_DUPLICATES_LAST, NULL, &list, NULL) < 0) {
		(void)cri_interfaces_parse(text, &a, &interfaces);
		return 0;
	}
	(void)json_parse(&a, second, JSON_DUPLICATES_LAST, NULL, &result, NULL); /* or there is none */
	unsigned n = cri_net_ips(&result, ips, ARRAY_LEN(ips));
	for (unsigned i = 0; i < n; i++)
		assert(ips[i].len > 0 && span_chr(ips[i], '/') < 0);
	JSON_EACH_ITEM (json_getl(&list, "plugins"), plugin) {
		if (plugin->kind != JSON_OBJECT)
			continue;
		struct json config = cri_net_plugin_config(&a, &list, plugin, json_getl(&list, "args"), &result);
		assert(config.kind == JSON_OBJECT && json_getl(&config, "name") && !json_getl(&config, "capabilities"));
	}
	return 0;
}
