// The scalar oracle of every kernel. Invariant: kept for ever, plain enough to be checked by eye, and never
// included by a unit that is compiled for more than the baseline CPU.
#pragma once

#include "reference/attention.hpp"
#include "reference/dequantize.hpp"
#include "reference/matmul.hpp"
#include "reference/vector.hpp"
