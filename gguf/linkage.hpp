// Where definitions live. `x.hpp` declares, with what is small enough to stand inline; `x.inl` defines the
// rest. One source serves two ways of building:
//   compiled      gemma::gemma: a unit of libgemma (gguf/gguf.cpp, ...) includes the .inl files, users see
//                 declarations only
//   header only   gemma::header_only, which sets GEMMA_HEADER_ONLY: each x.hpp ends by including its x.inl
// Invariant: every function that a .inl file defines is marked GEMMA_INLINE, unless it is a template.
#pragma once

#if defined(GEMMA_HEADER_ONLY)
#define GEMMA_INLINE inline
#else
#define GEMMA_INLINE
#endif
