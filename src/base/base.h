/* The seam of base: one include for what every component uses. */
#pragma once

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/mem.h"
#include "base/span.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/list.h"
#include "base/map.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/text.h"
#include "base/io.h"
#include "base/notify.h"
#include "base/banned.h"
