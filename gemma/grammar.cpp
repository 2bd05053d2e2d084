// The compiled form of constrained output: see ../gguf/linkage.hpp. A separate unit, since no other unit
// needs its parts.
#include "grammar.hpp"

#include "grammar.inl"
#include "grammar/automaton.inl"
#include "grammar/mask_engine.inl"
#include "grammar/state_table.inl"
#include "piece_trie.inl"
