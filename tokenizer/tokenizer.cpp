// The compiled form of the folder's headers: see ../gguf/linkage.hpp.
#include "tokenizer.hpp"

#include "tokenizer.inl"
