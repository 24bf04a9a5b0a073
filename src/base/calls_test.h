/* What tests say of calls that may fail; behind cmocka.h. */
#pragma once

#include "base/base.h"

#define OK(call)                                                                                                       \
	do {                                                                                                           \
		auto_err struct err err = ERR_INIT;                                                                    \
		int rc_ = (call);                                                                                      \
		if (rc_ < 0)                                                                                           \
			fail_msg("%s: %s", #call, err_msg(&err));                                                      \
	} while (0)
#define FAILS(class, words, call)                                                                                      \
	do {                                                                                                           \
		auto_err struct err err = ERR_INIT;                                                                    \
		int rc_ = (call);                                                                                      \
		if (rc_ != -(int)(class) || !strstr(err_msg(&err), words))                                                  \
			fail_msg("%s: wanted %s \"%s\", got %d \"%s\"", #call, err_class_name(class), words, rc_, err_msg(&err)); \
	} while (0)
