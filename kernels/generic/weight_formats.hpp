// All weight formats of the 8-bit matmul.
#pragma once

#include "block_formats.hpp"
#include "super_block_formats.hpp"
