// Where definitions live. `x.hpp` declares, and defines what is small enough to be inline; `x.inl` defines
// the rest. The same source is built in two ways:
//   compiled      gemma::gemma: a unit of libgemma (gguf/gguf.cpp, ...) includes the .inl files,
//                 users include declarations only
//   header only   gemma::header_only, which sets GEMMA_HEADER_ONLY: each x.hpp ends by including its x.inl
// Invariant: every function that a .inl file defines is marked GEMMA_INLINE, unless it is a template.
#pragma once

#if defined(GEMMA_HEADER_ONLY)
#define GEMMA_INLINE inline
#else
#define GEMMA_INLINE
#endif
