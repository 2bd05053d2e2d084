// The scalar oracle of every kernel.
// Invariant: it stays simple enough to be checked by eye, and no unit that is compiled for more than the
// baseline CPU includes it.
#pragma once

#include "reference/attention.hpp"
#include "reference/dequantize.hpp"
#include "reference/matmul.hpp"
#include "reference/vector.hpp"
