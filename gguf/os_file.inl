// Definitions of os_file.hpp.
#pragma once

#if defined(_WIN32)
#include "os_file_windows.inl"
#else
#include "os_file_posix.inl"
#endif
