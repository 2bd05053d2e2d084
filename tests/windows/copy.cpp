// Reads a GGUF file and writes it again. tests/run-windows.sh runs it and compares the bytes.
//   copy IN OUT       replaces the file OUT if it exists
#include <cstdio>
#include <exception>
#include <iterator>
#include <span>
#include <vector>

#include "gguf/file.hpp"
#include "gguf/writer.hpp"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    const gemma::gguf::File file = gemma::gguf::File::open(argv[1]);
    gemma::gguf::Writer writer(file.version());
    for (const gemma::gguf::Metadata& pair : file.metadata()) writer.add(pair.key, pair.value);
    for (const gemma::TensorView& tensor : file.tensors()) {
      // the first tensor in parts, as a quantiser writes it
      const auto produce = [&tensor](const gemma::gguf::Writer::Sink& sink) {
        const std::size_t half = tensor.data.size() / 2;
        sink(tensor.data.first(half));
        sink(tensor.data.subspan(half));
      };
      const std::vector<std::size_t> shape(std::reverse_iterator(tensor.dims + tensor.n_dims),
                                           std::reverse_iterator(tensor.dims));
      if (&tensor == file.tensors().data()) {
        writer.add_tensor_in_parts(tensor.name, tensor.type, shape, produce);
      } else {
        writer.add_tensor(tensor.name, tensor.type, shape, tensor.data);
      }
    }
    writer.write(argv[2]);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return 0;
}
