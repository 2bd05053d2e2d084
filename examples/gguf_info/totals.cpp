// Sums over the tensors of a file.
#include <algorithm>

#include "examples/gguf_info/report.hpp"

namespace gemma::app {

Totals Totals::of(const gguf::File& file) {
  Totals totals;
  for (const TensorView& t : file.tensors()) {
    auto it = std::find_if(totals.by_type.begin(), totals.by_type.end(),
                           [name = t.type_name()](const OfType& of_type) { return of_type.name == name; });
    if (it == totals.by_type.end()) it = totals.by_type.insert(it, {t.type_name(), {}});
    it->total.add(t);
    totals.all.add(t);
  }
  std::stable_sort(totals.by_type.begin(), totals.by_type.end(),
                   [](const OfType& a, const OfType& b) { return a.total.bytes > b.total.bytes; });
  return totals;
}

std::vector<std::size_t> shape_of(const TensorView& tensor) {
  std::vector<std::size_t> shape(tensor.dims, tensor.dims + tensor.n_dims);
  std::reverse(shape.begin(), shape.end());
  return shape;
}

}  // namespace gemma::app
