// Definitions of quantizer.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include "../gguf/finite.hpp"
#include "../gguf/linkage.hpp"
#include "../gguf/writer.hpp"
#include "../kernels/encoder.hpp"
#include "../kernels/kernel_table.hpp"
#include "engine_error_code.hpp"
#include "thread_team.hpp"

namespace gemma {

GEMMA_INLINE Quantizer::Quantizer(const gguf::File& file, const QuantizeOptions& options)
    : file_(&file), options_(options) {
  detail::or_out_of_memory("no memory for the plan of a file",
                           [&] { choices_ = detail::choose_types(file, options_); });
}

GEMMA_INLINE std::size_t Quantizer::total_bytes() const noexcept {
  std::size_t sum = 0;
  for (const TensorChoice& c : choices_) sum += c.tensor->data.size();
  return sum;
}

GEMMA_INLINE bool Quantizer::requantizes() const noexcept {
  return std::any_of(choices_.begin(), choices_.end(), [](const TensorChoice& c) {
    return !c.copied && info(c.tensor->type).block_elements > 1;
  });
}

/// Converts tensors between the file and the writer: buffers, threads, sums of errors.
class Quantizer::Work {
 public:
  static constexpr std::size_t kSlabBytes = std::size_t{8} << 20;  // input and output together, approximately

  Work(const Quantizer& quantizer, const Progress& progress)
      : file_(*quantizer.file_),
        options_(quantizer.options_),
        progress_(progress),
        n_threads_(options_.n_threads != 0 ? options_.n_threads : physical_core_count()) {}

  TensorReport write(const TensorChoice& c, const gguf::Writer::Sink& sink) {
    report_ = {c, 0, 0};
    read_changes(c);
    squares_ = errors_ = weighted_squares_ = weighted_errors_ = 0;
    const TensorView& t = *c.tensor;
    const std::size_t in = t.row_size_bytes();
    const std::size_t out = c.copied ? in : row_bytes(c.type, t.cols);
    const std::size_t step = std::clamp<std::size_t>(kSlabBytes / (in + out), 1, t.rows);
    for (std::size_t row = 0; row < t.rows; row += step) {
      const std::size_t n = std::min(step, t.rows - row);
      if (options_.cancel != nullptr && options_.cancel->load(std::memory_order_relaxed))
        detail::refuse(EngineErrorCode::kCancelled, "quantising was cancelled");
      file_.check_size();
      const auto source = t.data.subspan(row * in, n * in);
      const auto next = t.data.subspan((row + n) * in, std::min(n, t.rows - row - n) * in);
      if (!next.empty()) file_.will_need(next);
      if (c.copied) {
        sink(source);
      } else {
        encode(c, row, n);
        sink(std::span(encoded_).first(n * out));
      }
      file_.will_not_need(source);
      done_ += source.size();
      if (progress_) progress_(c, done_);
    }
    if (squares_ > 0) report_.error = std::sqrt(errors_ / squares_);
    if (weighted_squares_ > 0) report_.weighted_error = std::sqrt(weighted_errors_ / weighted_squares_);
    return report_;
  }

 private:
  struct Floats {
    std::vector<float> a, b;
  };
  struct RowSums {
    double squares, errors, weighted_squares, weighted_errors;
  };

  /// Encodes rows [row, row + n) into encoded_ and adds up their errors, in the order of rows.
  void encode(const TensorChoice& c, std::size_t row, std::size_t n) {
    const TensorView& t = *c.tensor;
    const std::size_t out = row_bytes(c.type, t.cols);
    encoded_.resize(std::max(encoded_.size(), n * out));
    sums_.assign(n, RowSums{});
    floats_.resize(std::max<std::size_t>(floats_.size(), 2 * t.cols * n_threads_));
    const kernels::KernelTable& table = kernels::best_table();
    const auto decode = table.dequantize[static_cast<std::size_t>(t.type)];
    const auto check = table.dequantize[static_cast<std::size_t>(c.type)];
    const auto encode_row = kernels::best_encoder().find(c.type);
    std::atomic<std::size_t> taken{0};
    detail::run_team(n_threads_, barrier_, [&](const detail::Worker& w) {
      float* const x = floats_.data() + 2 * t.cols * w.id;
      float* const y = x + t.cols;
      for (auto r = detail::take_piece(taken, n, 1, w.count); r.begin != r.end;
           r = detail::take_piece(taken, n, 1, w.count)) {
        for (std::size_t i = r.begin; i < r.end; ++i) {
          const float* importances = importances_of(c, row + i);
          std::byte* const to = encoded_.data() + i * out;
          decode(t.row(row + i), t.cols, x);
          add_changes(c, row + i, x);
          encode_row(x, importances, t.cols, to);
          check(to, t.cols, y);
          sums_[i] = sums_of(x, y, importances, t.cols);
        }
      }
    });
    for (std::size_t i = 0; i < n; ++i) add(sums_[i], t, row + i, c.type);
  }

  /// Reads A of each change as floats, [rank, cols], and B times its scale, [rows, rank]. Small compared to
  /// the matrix.
  void read_changes(const TensorChoice& c) {
    changes_.clear();
    for (const Adapter::Change* change : c.changes) {
      Floats f{floats_of(*change->a), floats_of(*change->b)};
      if (change->by_rows) {
        f.b.swap(f.a);
        f.a = transposed(f.a, change->rank());
      }
      for (float& v : f.b) v *= change->scale;
      changes_.push_back(std::move(f));
    }
  }
  static std::vector<float> floats_of(const TensorView& t) {
    std::vector<float> out(t.rows * t.cols);
    const auto decode = kernels::best_table().dequantize[static_cast<std::size_t>(t.type)];
    for (std::size_t r = 0; r < t.rows; ++r) decode(t.row(r), t.cols, out.data() + r * t.cols);
    return out;
  }
  /// x[n, cols] as [cols, n].
  static std::vector<float> transposed(const std::vector<float>& x, std::size_t cols) {
    const std::size_t n = x.size() / cols;
    std::vector<float> out(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) out[i % cols * n + i / cols] = x[i];
    return out;
  }
  /// x += row `row` of scale * B * A of every change.
  void add_changes(const TensorChoice& c, std::size_t row, float* x) const noexcept {
    const std::size_t cols = c.tensor->cols;
    for (const Floats& f : changes_) {
      const std::size_t rank = f.a.size() / cols;
      for (std::size_t k = 0; k < rank; ++k) {
        const float b = f.b[row * rank + k];
        const float* const a = f.a.data() + k * cols;
        for (std::size_t i = 0; i < cols; ++i) x[i] += b * a[i];
      }
    }
  }

  static const float* importances_of(const TensorChoice& c, std::size_t row) noexcept {
    if (c.importances == nullptr) return nullptr;
    const std::size_t n_matrices = c.importances->n_matrices();
    const std::size_t matrix = row / (c.tensor->rows / n_matrices);
    return c.importances->means.data() + matrix * c.importances->n_inputs;
  }

  static RowSums sums_of(const float* x, const float* y, const float* w, std::size_t n) noexcept {
    RowSums s{};
    for (std::size_t i = 0; i < n; ++i) {
      const double xi = static_cast<double>(x[i]), e = xi - static_cast<double>(y[i]);
      s.squares += xi * xi;
      s.errors += e * e;
      if (w == nullptr) continue;
      s.weighted_squares += static_cast<double>(w[i]) * xi * xi;
      s.weighted_errors += static_cast<double>(w[i]) * e * e;
    }
    return s;
  }

  void add(const RowSums& s, const TensorView& t, std::size_t row, DType type) {
    if (!is_finite(s.errors)) {
      detail::refuse(EngineErrorCode::kNotFinite, [&] {
        return file_.path() + ": tensor " + gemma::quoted(t.name) + ": row " + std::to_string(row) +
               " holds numbers that are not finite, or too large for " + std::string(info(type).name);
      });
    }
    squares_ += s.squares;
    errors_ += s.errors;
    weighted_squares_ += s.weighted_squares;
    weighted_errors_ += s.weighted_errors;
  }

  const gguf::File& file_;
  const QuantizeOptions& options_;
  const Progress& progress_;
  unsigned n_threads_;
  detail::Barrier barrier_;
  std::vector<std::byte> encoded_;  // output of a slab
  std::vector<float> floats_;       // [n_threads, 2, cols]: a row before and after encoding
  std::vector<RowSums> sums_;       // errors of each row of a slab
  std::vector<Floats> changes_;     // changes of the current tensor
  TensorReport report_;
  double squares_ = 0, errors_ = 0, weighted_squares_ = 0, weighted_errors_ = 0;
  std::size_t done_ = 0;  // bytes of input processed
};

GEMMA_INLINE std::vector<TensorReport> Quantizer::write(const std::string& path, const Progress& progress,
                                                        const Finished& finished) const {
  return detail::or_out_of_memory("no memory for quantising", [&] {
    std::vector<TensorReport> reports;
    Work work(*this, progress);
    gguf::Writer writer(file_->version());
    for (const auto& [key, value] : file_->metadata()) {
      // these keys get new values or are dropped: the new file is never split
      if (key == "general.file_type" || key == "general.quantization_version" || key.starts_with("split.") ||
          key.starts_with("quantize.imatrix."))
        continue;
      writer.add(key, value);
    }
    writer.add("general.quantization_version", std::uint32_t{2});
    writer.add("general.file_type", options_.recipe->file_type);
    if (const Importances* i = options_.importances) {
      writer.add("quantize.imatrix.file", i->path());
      if (!i->datasets().empty()) writer.add("quantize.imatrix.dataset", i->datasets().front());
      writer.add("quantize.imatrix.entries_count", static_cast<std::uint32_t>(i->size()));
      if (i->n_chunks() != 0) writer.add("quantize.imatrix.chunks_count", i->n_chunks());
    }
    for (const TensorChoice& c : choices_) {
      std::size_t shape[4];  // the writer expects the slowest dimension first
      for (std::uint32_t d = 0; d < c.tensor->n_dims; ++d)
        shape[d] = c.tensor->dims[c.tensor->n_dims - 1 - d];
      writer.add_tensor_in_parts(c.tensor->name, c.copied ? c.tensor->type : c.type,
                                 std::span<const std::size_t>(shape, c.tensor->n_dims),
                                 [&, choice = &c](const gguf::Writer::Sink& sink) {
                                   reports.push_back(work.write(*choice, sink));
                                   if (finished) finished(reports.back());
                                 });
    }
    writer.write(path);
    return reports;
  });
}

}  // namespace gemma
