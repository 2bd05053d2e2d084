// Definitions of quantizer.hpp and quantize_recipes.hpp.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "../gguf/file_kind.hpp"
#include "../gguf/finite.hpp"
#include "../gguf/linkage.hpp"
#include "../gguf/writer.hpp"
#include "../kernels/encoder.hpp"
#include "../kernels/kernel_table.hpp"
#include "thread_team.hpp"

namespace gemma {
namespace detail {

GEMMA_INLINE char upper(char c) noexcept {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

/// Whether `name` is of the form of `pattern`, where "*" stands for any characters. Linear: after a mismatch
/// only the last star is tried again.
GEMMA_INLINE bool fits_pattern(std::string_view pattern, std::string_view name) noexcept {
  std::size_t p = 0, n = 0, star = std::string_view::npos, after = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      after = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p, ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++after;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

/// The 7 of "blk.7.attn_v.weight", and what follows.
struct LayerName {
  std::size_t layer;
  std::string_view rest;
};
GEMMA_INLINE std::optional<LayerName> layer_name(std::string_view name) noexcept {
  constexpr std::string_view kBlock = "blk.";
  if (!name.starts_with(kBlock)) return std::nullopt;
  std::size_t layer = 0;
  const char* const end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + kBlock.size(), end, layer);
  if (error != std::errc() || rest == end || *rest != '.') return std::nullopt;
  return LayerName{layer, std::string_view(rest + 1, static_cast<std::size_t>(end - rest - 1))};
}

/// Chooses the types of a file's tensors.
class TypeChooser {
 public:
  TypeChooser(const gguf::File& file, const QuantizeOptions& options) : file_(file), options_(options) {
    for (const TensorView& t : file.tensors()) {
      const auto name = layer_name(t.name);
      if (name && rule_of(name->rest) != nullptr) layers_[rule_of(name->rest)].insert(name->layer);
    }
  }

  TensorChoice choose(const TensorView& t) {
    TensorChoice choice{&t, t.type, true, false, nullptr};
    const auto asked = asked_for(t);
    if (!asked && !is_matrix(t)) return choice;
    const DType wanted = asked ? *asked : recipe_type(t.name);
    choice.type = wanted;
    if (t.cols % info(wanted).block_elements != 0) {
      if (asked) {
        throw Error(ErrorCode::kInvalidArgument,
                    file_.path() + ": tensor " + quoted(t.name) + " has rows of " + std::to_string(t.cols) +
                        ", which are not whole " + std::string(info(wanted).name) + " blocks");
      }
      choice.type = fallback(wanted, t.cols);
      choice.instead = true;
    }
    choice.copied = choice.type == t.type;
    if (!choice.copied) choice.importances = importances_of(t);
    return choice;
  }

  /// The first of options.tensors that fitted nothing, or nullptr.
  const std::string* unused() const {
    for (std::size_t i = 0; i < options_.tensors.size(); ++i)
      if (used_.count(i) == 0) return &options_.tensors[i].first;
    return nullptr;
  }

 private:
  std::optional<DType> asked_for(const TensorView& t) {
    std::optional<DType> type;
    for (std::size_t i = 0; i < options_.tensors.size(); ++i) {
      const auto& [pattern, wanted] = options_.tensors[i];
      if (!fits_pattern(pattern, t.name)) continue;
      used_.insert(i);
      if (!type) type = wanted;
    }
    if (type && !t.runs()) {
      throw Error(ErrorCode::kUnsupported, file_.path() + ": tensor " + quoted(t.name) + " is of type " +
                                               describe_dtype_id(t.type_id) + ", which is not decoded");
    }
    return type;
  }

  /// Whether the recipe is about it: more than one dimension, decodable, not on the list of what stays.
  static bool is_matrix(const TensorView& t) noexcept {
    if (t.n_dims < 2 || t.rows < 2 || !t.runs() || !t.name.ends_with("weight")) return false;
    return std::none_of(std::begin(kKeptTensors), std::end(kKeptTensors),
                        [&](std::string_view part) { return t.name.find(part) != std::string_view::npos; });
  }

  const RecipeRule* rule_of(std::string_view rest) const noexcept {
    const QuantizeRecipe& r = *options_.recipe;
    if (rest == "attn_v.weight") return &r.attn_v;
    if (rest == "attn_output.weight") return &r.attn_output;
    if (rest.starts_with("ffn_down") && rest.ends_with(".weight")) return &r.ffn_down;
    return nullptr;
  }

  /// Whether four or more heads share a key and value head in the layer.
  bool is_grouped(std::size_t layer) const {
    const std::string block = "blk." + std::to_string(layer) + ".";
    const TensorView* q = file_.find_tensor(block + "attn_q.weight");
    const TensorView* k = file_.find_tensor(block + "attn_k.weight");
    return q != nullptr && k != nullptr && q->rows / 4 >= k->rows;
  }

  DType recipe_type(std::string_view name) const {
    const QuantizeRecipe& r = *options_.recipe;
    const bool has_head = file_.find_tensor(kHeadTensor) != nullptr;
    if (name == kHeadTensor) return r.head;
    if (!has_head && (name == kEmbeddingTensor || name == kLayersEmbeddingTensor)) return r.head;
    const auto layer = layer_name(name);
    const RecipeRule* rule = layer ? rule_of(layer->rest) : nullptr;
    if (rule == nullptr) return r.base;
    // layers that lack the matrix do not count
    const auto& layers = layers_.at(rule);
    const auto index = static_cast<std::size_t>(std::distance(layers.begin(), layers.find(layer->layer)));
    const bool picked = is_picked(rule->pick, index, layers.size(), is_grouped(layer->layer),
                                  options_.importances != nullptr);
    return picked ? rule->special : rule->type;
  }

  static DType fallback(DType type, std::size_t cols) noexcept {
    for (const TypeFallback& f : kTypeFallbacks)
      if (f.type == type && cols % info(f.instead).block_elements == 0) return f.instead;
    return DType::kF16;
  }

  const Importances::Entry* importances_of(const TensorView& t) const {
    const Importances::Entry* e = options_.importances ? options_.importances->find(t.name) : nullptr;
    if (e == nullptr) return nullptr;
    const std::size_t n_matrices = t.n_dims < 3 ? 1 : t.dims[2] * t.dims[3];
    if (e->n_inputs != t.cols || (e->n_matrices() != n_matrices && e->n_matrices() != 1)) {
      throw Error(ErrorCode::kBadShape,
                  options_.importances->path() + ": importances of " + std::to_string(e->n_matrices()) +
                      " x " + std::to_string(e->n_inputs) + " inputs for tensor " + quoted(t.name) + " of " +
                      std::to_string(n_matrices) + " x " + std::to_string(t.cols));
    }
    return e;
  }

  const gguf::File& file_;
  const QuantizeOptions& options_;
  std::map<const RecipeRule*, std::set<std::size_t>> layers_;  // that have the matrix of a rule
  std::set<std::size_t> used_;                                 // of options.tensors
};

}  // namespace detail

GEMMA_INLINE const QuantizeRecipe* find_recipe(std::string_view name) noexcept {
  for (const QuantizeRecipe& r : kQuantizeRecipes) {
    if (std::equal(r.name.begin(), r.name.end(), name.begin(), name.end(),
                   [](char a, char b) { return a == detail::upper(b); }))
      return &r;
  }
  return nullptr;
}

GEMMA_INLINE std::string recipe_names() {
  std::string names;
  for (const QuantizeRecipe& r : kQuantizeRecipes) names += (names.empty() ? "" : ", ") + std::string(r.name);
  return names;
}

GEMMA_INLINE Quantizer::Quantizer(const gguf::File& file, const QuantizeOptions& options)
    : file_(&file), options_(options) {
  detail::or_out_of_memory("no memory for the plan of a file", [&] {
    if (options.recipe == nullptr) throw Error(ErrorCode::kInvalidArgument, "quantising needs a recipe");
    gguf::refuse_other_kinds(file);
    for (const auto& [pattern, type] : options.tensors) {
      if (!kernels::can_encode(type)) {
        throw Error(ErrorCode::kInvalidArgument, "tensor " + quoted(pattern) + ": type " +
                                                     describe_dtype_id(static_cast<std::uint32_t>(type)) +
                                                     " is not written");
      }
    }
    detail::TypeChooser chooser(file, options_);
    for (const TensorView& t : file.tensors()) {
      if (!t.runs()) {  // nothing is known of how it could be copied whole
        throw Error(ErrorCode::kUnsupported, file.path() + ": tensor " + quoted(t.name) + " is of type " +
                                                 describe_dtype_id(t.type_id) + ", which is not written");
      }
      choices_.push_back(chooser.choose(t));
    }
    if (const std::string* pattern = chooser.unused()) {
      throw Error(ErrorCode::kInvalidArgument, file.path() + ": there is no tensor " + quoted(*pattern));
    }
  });
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

/// Tensors on their way from the file to the writer: buffers, threads, sums.
class Quantizer::Work {
 public:
  static constexpr std::size_t kSlabBytes = std::size_t{8} << 20;  // of input and output together, about

  Work(const Quantizer& quantizer, const Progress& progress)
      : file_(*quantizer.file_),
        options_(quantizer.options_),
        progress_(progress),
        n_threads_(options_.n_threads != 0 ? options_.n_threads : physical_core_count()) {}

  TensorReport write(const TensorChoice& c, const gguf::Writer::Sink& sink) {
    report_ = {c, 0, 0};
    squares_ = errors_ = weighted_squares_ = weighted_errors_ = 0;
    const TensorView& t = *c.tensor;
    const std::size_t in = t.row_size_bytes();
    const std::size_t out = c.copied ? in : row_bytes(c.type, t.cols);
    const std::size_t step = std::clamp<std::size_t>(kSlabBytes / (in + out), 1, t.rows);
    for (std::size_t row = 0; row < t.rows; row += step) {
      const std::size_t n = std::min(step, t.rows - row);
      if (options_.cancel != nullptr && options_.cancel->load(std::memory_order_relaxed))
        throw Error(ErrorCode::kCancelled, "quantising was cancelled");
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
  struct RowSums {
    double squares, errors, weighted_squares, weighted_errors;
  };

  /// Encodes rows [row, row + n) into encoded_ and adds their errors up, row by row in order.
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
    run_team(n_threads_, barrier_, [&](const Worker& w) {
      float* const x = floats_.data() + 2 * t.cols * w.id;
      float* const y = x + t.cols;
      for (Range r = take(taken, n, 1, w.count); r.begin != r.end; r = take(taken, n, 1, w.count)) {
        for (std::size_t i = r.begin; i < r.end; ++i) {
          const float* importances = importances_of(c, row + i);
          std::byte* const to = encoded_.data() + i * out;
          decode(t.row(row + i), t.cols, x);
          encode_row(x, importances, t.cols, to);
          check(to, t.cols, y);
          sums_[i] = sums_of(x, y, importances, t.cols);
        }
      }
    });
    for (std::size_t i = 0; i < n; ++i) add(sums_[i], t, row + i, c.type);
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
      throw Error(ErrorCode::kNotFinite,
                  file_.path() + ": tensor " + quoted(t.name) + ": row " + std::to_string(row) +
                      " holds numbers that are not finite, or too large for " + std::string(info(type).name));
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
  Barrier barrier_;
  std::vector<std::byte> encoded_;  // a slab
  std::vector<float> floats_;       // [n_threads, 2, cols]: a row before and after
  std::vector<RowSums> sums_;       // of the slab's rows
  TensorReport report_;
  double squares_ = 0, errors_ = 0, weighted_squares_ = 0, weighted_errors_ = 0;
  std::size_t done_ = 0;  // bytes of input
};

GEMMA_INLINE std::vector<TensorReport> Quantizer::write(const std::string& path, const Progress& progress,
                                                        const Finished& finished) const {
  return detail::or_out_of_memory("no memory for quantising", [&] {
    std::vector<TensorReport> reports;
    Work work(*this, progress);
    gguf::Writer writer(file_->version());
    for (const auto& [key, value] : file_->metadata()) {
      // of the new file these are other ones; it is whole, where the old one may have been split
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
      std::size_t shape[4];  // the writer's order is that of arrays, the slowest first
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
