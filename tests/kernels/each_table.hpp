// Runs a test on every instruction set of this machine.
#pragma once

#include <string>

#include <gtest/gtest.h>

#include "kernels/kernel_table.hpp"

namespace gemma::kernels {

/// Calls f(table, its vector kernels) for each instruction set that this machine has.
template <class F>
void for_each_table(F f) {
  for (const KernelTable* table : available_tables()) {
    SCOPED_TRACE(std::string(table->name));
    f(*table, table->vec);
  }
}

}  // namespace gemma::kernels
