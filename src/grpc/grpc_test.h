/* The services that tests of both sides talk to. */
#pragma once

#include "grpc/grpc.h"

/* What happened on the server, in words. */
struct grpc_test_log {
	struct buf text;
	struct loop *loop;
};
extern const struct grpc_method grpc_test_methods[];
extern const size_t grpc_test_n_methods;
/* Python's grpcio as the other side; exit status 77 without it. */
pid_t grpc_test_python(const char *mode, const char *target);
