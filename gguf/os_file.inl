// Definitions of os_file.hpp.
#pragma once

#include "os_file_posix.inl"
