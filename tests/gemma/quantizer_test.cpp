// Quantising a file: the types of tensors, copied metadata, reported errors, importances, and that the bytes
// do not depend on the number of threads.
#include "gemma/quantizer.hpp"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/engine_error_code.hpp"
#include "gguf/writer.hpp"
#include "kernels/encoder.hpp"
#include "kernels/kernel_table.hpp"
#include "tests/gemma/model_file.hpp"
#include "tests/paths.hpp"
#include "tests/refusal.hpp"
#include "tests/temporary_folder.hpp"

namespace gemma {
namespace {

using test::code_of;
using test::Random;
using test::TemporaryFolder;

/// A file of random F32 tensors by name and row-major shape.
class FloatFile {
 public:
  FloatFile& add(const std::string& name, std::vector<std::size_t> shape) {
    std::size_t n = 1;
    for (const std::size_t d : shape) n *= d;
    std::vector<float> x(n);
    for (float& v : x) v = static_cast<float>(0.02 * random_.unit());
    tensors_.push_back({name, std::move(shape), std::move(x)});
    return *this;
  }
  std::vector<float>& floats(std::size_t i) { return tensors_[i].data; }

  std::vector<std::byte> bytes() const {
    gguf::Writer w;
    w.add("general.architecture", "gemma").add("general.file_type", std::uint32_t{0});
    w.add("general.alignment", std::uint32_t{64}).add("own.key", "kept").add("split.count", std::uint16_t{0});
    for (const Tensor& t : tensors_)
      w.add_tensor(t.name, DType::kF32, t.shape, std::as_bytes(std::span(t.data)));
    return w.bytes();
  }

 private:
  struct Tensor {
    std::string name;
    std::vector<std::size_t> shape;
    std::vector<float> data;
  };
  std::vector<Tensor> tensors_;
  Random random_{7};
};

/// Sixteen layers with the tensors of Gemma; rows of 256 and of 96.
FloatFile layers() {
  FloatFile f;
  f.add("token_embd.weight", {40, 256});
  for (int i = 0; i < 16; ++i) {
    const std::string b = "blk." + std::to_string(i) + ".";
    f.add(b + "attn_q.weight", {64, 256}).add(b + "attn_k.weight", {16, 256});
    if (i != 3) f.add(b + "attn_v.weight", {16, 256});  // one layer lacks it
    f.add(b + "attn_output.weight", {32, 96}).add(b + "ffn_down.weight", {32, 256});
    f.add(b + "ffn_gate_inp.weight", {8, 256}).add(b + "attn_norm.weight", {256});
  }
  return f;
}

std::map<std::string, std::string> types_of(const gguf::File& file, const QuantizeOptions& options) {
  std::map<std::string, std::string> types;
  const Quantizer quantizer(file, options);
  for (const TensorChoice& c : quantizer.choices())
    types[std::string(c.tensor->name)] = std::string(info(c.type).name) + (c.copied ? " copied" : "");
  return types;
}

TEST(Recipes, AreFoundByName) {
  EXPECT_EQ(find_recipe("q4_k_m")->file_type, 15u);
  EXPECT_EQ(find_recipe("Q4_K_MM"), nullptr);
  EXPECT_EQ(find_recipe(""), nullptr);
  for (const QuantizeRecipe& r : kQuantizeRecipes) {
    EXPECT_EQ(find_recipe(r.name), &r);
    for (const DType type : {r.base, r.head, r.attn_v.type, r.attn_output.type, r.ffn_down.type})
      EXPECT_TRUE(kernels::can_encode(type)) << r.name;
  }
}

TEST(Recipes, Q4KMIsTheMixThatItsNameStandsFor) {
  const auto bytes = layers().bytes();
  const gguf::File file = gguf::File::from_memory(bytes, "m");
  QuantizeOptions options;
  options.recipe = find_recipe("Q4_K_M");
  const auto types = types_of(file, options);
  EXPECT_EQ(types.at("token_embd.weight"), "Q6_K");  // there is no output.weight
  EXPECT_EQ(types.at("blk.5.attn_q.weight"), "Q4_K");
  EXPECT_EQ(types.at("blk.5.attn_norm.weight"), "F32 copied");
  EXPECT_EQ(types.at("blk.5.ffn_gate_inp.weight"), "F32 copied");
  EXPECT_EQ(types.at("blk.5.attn_output.weight"), "Q5_0");  // 96 is not a multiple of 256
  std::string down, v;
  for (int i = 0; i < 16; ++i) {
    down += types.at("blk." + std::to_string(i) + ".ffn_down.weight")[1];
    if (i != 3) v += types.at("blk." + std::to_string(i) + ".attn_v.weight")[1];
  }
  EXPECT_EQ(down, "6644644644644666");
  EXPECT_EQ(v, "644644644644666");  // 15 layers have it: the first eighth is layer 0, the last begins at 13
}

TEST(Recipes, OthersFollowTheirTables) {
  const auto bytes = FloatFile(layers()).add("output.weight", {40, 256}).bytes();
  const gguf::File file = gguf::File::from_memory(bytes, "m");
  const auto types = [&](const char* recipe) {
    QuantizeOptions options;
    options.recipe = find_recipe(recipe);
    return types_of(file, options);
  };
  const auto q2 = types("Q2_K");
  EXPECT_EQ(q2.at("output.weight"), "Q6_K");
  EXPECT_EQ(q2.at("token_embd.weight"), "Q2_K");
  EXPECT_EQ(q2.at("blk.5.attn_v.weight"), "Q4_K");  // four heads for each key and value head
  EXPECT_EQ(q2.at("blk.5.attn_output.weight"), "Q4_0");
  EXPECT_EQ(q2.at("blk.5.ffn_down.weight"), "Q3_K");
  const auto q3 = types("Q3_K_M");
  EXPECT_EQ(q3.at("blk.0.ffn_down.weight"), "Q5_K");
  EXPECT_EQ(q3.at("blk.1.ffn_down.weight"), "Q4_K");
  EXPECT_EQ(q3.at("blk.1.attn_v.weight"), "Q5_K");
  EXPECT_EQ(q3.at("blk.2.attn_v.weight"), "Q4_K");
  EXPECT_EQ(q3.at("blk.2.attn_q.weight"), "Q3_K");
  const auto q8 = types("Q8_0");
  EXPECT_EQ(q8.at("output.weight"), "Q8_0");
  EXPECT_EQ(q8.at("blk.0.attn_output.weight"), "Q8_0");
  EXPECT_EQ(types("IQ4_XS").at("blk.0.ffn_down.weight"), "Q5_K");
  EXPECT_EQ(types("F32").at("blk.0.ffn_down.weight"), "F32 copied");
}

TEST(Quantizer, TypesCanBeAskedFor) {
  const auto bytes = layers().bytes();
  const gguf::File file = gguf::File::from_memory(bytes, "m");
  QuantizeOptions options;
  options.recipe = find_recipe("Q4_K_S");
  options.tensors = {{"blk.3.attn_q.weight", DType::kQ8_0},
                     {"blk.*.attn_q.weight", DType::kF16},
                     {"*gate_inp*", DType::kBF16}};
  const auto types = types_of(file, options);
  EXPECT_EQ(types.at("blk.3.attn_q.weight"), "Q8_0");
  EXPECT_EQ(types.at("blk.4.attn_q.weight"), "F16");
  EXPECT_EQ(types.at("blk.4.ffn_gate_inp.weight"), "BF16");
  EXPECT_EQ(types.at("blk.4.attn_k.weight"), "Q4_K");
  const auto refused = [&](std::vector<std::pair<std::string, DType>> tensors) {
    options.tensors = std::move(tensors);
    return code_of([&] { Quantizer(file, options); });
  };
  EXPECT_EQ(refused({{"blk.99.attn_q.weight", DType::kQ8_0}}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused({{"*attn_output*", DType::kQ4_K}}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused({{"*", DType::kIQ1_S}}), ErrorCode::kInvalidArgument);
  options = {};
  EXPECT_EQ(code_of([&] { Quantizer(file, options); }), ErrorCode::kInvalidArgument);
}

TEST(Quantizer, WhatIsWrittenIsTheFileQuantised) {
  const TemporaryFolder folder;
  const auto bytes = layers().bytes();
  const gguf::File file = gguf::File::from_memory(bytes, "m");
  QuantizeOptions options;
  options.recipe = find_recipe("Q5_K_M");
  std::vector<std::string> files;
  std::vector<TensorReport> reports;
  std::size_t done = 0;
  for (const unsigned n_threads : {1u, 3u}) {
    options.n_threads = n_threads;
    const Quantizer quantizer(file, options);
    reports = quantizer.write(folder.path("q"), [&](const TensorChoice&, std::size_t d) { done = d; });
    EXPECT_EQ(done, quantizer.total_bytes());
    files.push_back(test::read_bytes(folder.path("q")));
  }
  EXPECT_EQ(files[0], files[1]);

  const gguf::File out = gguf::File::open(folder.path("q"));
  EXPECT_EQ(out.get<std::uint32_t>("general.file_type"), 17u);
  EXPECT_EQ(out.get<std::uint32_t>("general.quantization_version"), 2u);
  EXPECT_EQ(out.get<std::string>("own.key"), "kept");
  EXPECT_EQ(out.alignment(), 64u);
  EXPECT_EQ(out.find("split.count"), nullptr);
  ASSERT_EQ(out.tensors().size(), file.tensors().size());
  ASSERT_EQ(reports.size(), file.tensors().size());
  for (std::size_t i = 0; i < reports.size(); ++i) {
    const TensorView &a = file.tensors()[i], &b = out.tensors()[i];
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.rows, b.rows);
    EXPECT_EQ(a.cols, b.cols);
    EXPECT_EQ(reports[i].choice.tensor->name, a.name);
    if (b.type == DType::kF32) {
      EXPECT_TRUE(std::equal(a.data.begin(), a.data.end(), b.data.begin(), b.data.end()));
      EXPECT_EQ(reports[i].error, 0);
      continue;
    }
    // the reported error is that of the written tensors
    std::vector<float> y(b.cols);
    double errors = 0, squares = 0;
    for (std::size_t r = 0; r < b.rows; ++r) {
      kernels::best_table().dequantize[static_cast<std::size_t>(b.type)](b.row(r), b.cols, y.data());
      for (std::size_t c = 0; c < b.cols; ++c) {
        float x = 0;
        std::memcpy(&x, a.row(r) + 4 * c, 4);
        errors += std::pow(static_cast<double>(x) - static_cast<double>(y[c]), 2);
        squares += std::pow(static_cast<double>(x), 2);
      }
    }
    EXPECT_NEAR(reports[i].error, std::sqrt(errors / squares), 1e-9) << a.name;
    EXPECT_GT(reports[i].error, 0.005);
    EXPECT_LT(reports[i].error, b.type == DType::kQ6_K ? 0.02 : 0.05);
  }
  // quantised again: tensors that already have their type are copied
  const Quantizer again(out, options);
  EXPECT_FALSE(again.requantizes());
  again.write(folder.path("again"));
  EXPECT_EQ(test::read_bytes(folder.path("again")), files[0]);
}

TEST(Quantizer, ImportancesLessenTheErrorsThatTheyWeigh) {
  const TemporaryFolder folder;
  FloatFile f;
  f.add("blk.0.attn_q.weight", {32, 256}).add("blk.0.ffn_down_exps.weight", {2, 16, 256});
  const auto bytes = f.bytes();
  const gguf::File file = gguf::File::from_memory(bytes, "m");
  std::vector<float> sums(3 * 256), one = {4}, two = {2, 0};  // the second expert received no token
  Random random(3);
  for (float& v : sums) v = static_cast<float>(std::pow(random.unit(), 8));
  const auto all = std::as_bytes(std::span(sums));
  gguf::Writer w;
  w.add("general.type", "imatrix").add_array("imatrix.datasets", {"text.txt"});
  w.add("imatrix.chunk_count", std::uint32_t{5});
  w.add_tensor("blk.0.attn_q.weight.in_sum2", DType::kF32, {1, 256}, all.first(1024));
  w.add_tensor("blk.0.attn_q.weight.counts", DType::kF32, {1, 1}, std::as_bytes(std::span(one)));
  w.add_tensor("blk.0.ffn_down_exps.weight.in_sum2", DType::kF32, {2, 256}, all.subspan(1024));
  w.add_tensor("blk.0.ffn_down_exps.weight.counts", DType::kF32, {2, 1}, std::as_bytes(std::span(two)));
  w.write(folder.path("imatrix"));
  const Importances importances = Importances::read(folder.path("imatrix"));
  EXPECT_EQ(importances.size(), 2u);
  EXPECT_EQ(importances.find("blk.0.attn_q.weight")->means[7], sums[7] / 4);
  const Importances::Entry& experts = *importances.find("blk.0.ffn_down_exps.weight");
  EXPECT_EQ(experts.n_matrices(), 2u);
  EXPECT_EQ(experts.means[256 + 9], 0.0f);

  QuantizeOptions options;
  options.recipe = find_recipe("Q4_K_S");
  const auto plain = Quantizer(file, options).write(folder.path("plain"));
  options.importances = &importances;
  const auto weighted = Quantizer(file, options).write(folder.path("weighted"));
  const gguf::File out = gguf::File::open(folder.path("weighted"));
  EXPECT_EQ(out.get<std::string>("quantize.imatrix.dataset"), "text.txt");
  EXPECT_EQ(out.get<std::uint32_t>("quantize.imatrix.entries_count"), 2u);
  EXPECT_EQ(out.get<std::uint32_t>("quantize.imatrix.chunks_count"), 5u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_LT(weighted[i].weighted_error, 0.9 * plain[i].error);
    EXPECT_GT(weighted[i].error, plain[i].error);
  }
  // the second expert is quantised as without importances
  const auto half = [](const std::string& path) {
    const gguf::File q = gguf::File::open(path);
    const auto data = q.tensor("blk.0.ffn_down_exps.weight").data;
    return std::vector<std::byte>(data.begin() + static_cast<std::ptrdiff_t>(data.size() / 2), data.end());
  };
  EXPECT_EQ(half(folder.path("weighted")), half(folder.path("plain")));
}

TEST(Importances, OfOtherShapesAreRefused) {
  const TemporaryFolder folder;
  const auto written = [&](std::vector<std::size_t> sums, std::vector<std::size_t> counts, float value) {
    gguf::Writer w;
    const auto size = [](const std::vector<std::size_t>& shape) { return shape[0] * shape[1]; };
    const std::vector<float> a(size(sums), value), b(size(counts), 1.0f);
    w.add_tensor("blk.0.attn_q.weight.in_sum2", DType::kF32, sums, std::as_bytes(std::span(a)));
    w.add_tensor("blk.0.attn_q.weight.counts", DType::kF32, counts, std::as_bytes(std::span(b)));
    w.write(folder.path("imatrix"));
    return folder.path("imatrix");
  };
  EXPECT_EQ(code_of([&] { Importances::read(written({2, 256}, {1, 1}, 1)); }), EngineErrorCode::kBadShape);
  EXPECT_EQ(code_of([&] { Importances::read(written({1, 256}, {1, 1}, -1)); }), ErrorCode::kMalformed);
  EXPECT_EQ(code_of([&] { Importances::read(written({1, 256}, {1, 1}, NAN)); }), ErrorCode::kMalformed);
  const auto bytes = layers().bytes();
  const gguf::File file = gguf::File::from_memory(bytes, "m");
  EXPECT_EQ(code_of([&] { Importances::from(file); }), ErrorCode::kUnsupported);
  const Importances narrow = Importances::read(written({1, 128}, {1, 1}, 1));
  QuantizeOptions options;
  options.recipe = find_recipe("Q8_0");
  options.importances = &narrow;
  EXPECT_EQ(code_of([&] { Quantizer(file, options); }), EngineErrorCode::kBadShape);
}

/// An adapter of rank 2 for one matrix, all of A 0.5, of B the row's number.
std::vector<std::byte> adapter_bytes(const std::string& name, std::size_t rows, std::size_t cols,
                                     const std::string& architecture = "gemma", std::size_t rank_of_b = 2) {
  const std::vector<float> a(2 * cols, 0.5f);
  std::vector<float> b(rows * rank_of_b);
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i / rank_of_b);
  gguf::Writer w;
  w.add("general.type", "adapter").add("adapter.type", "lora").add("general.architecture", architecture);
  w.add("adapter.lora.alpha", 4.0f);
  w.add_tensor(name + ".lora_a", DType::kF32, {2, cols}, std::as_bytes(std::span(a)));
  w.add_tensor(name + ".lora_b", DType::kF32, {rows, rank_of_b}, std::as_bytes(std::span(b)));
  return w.bytes();
}

TEST(Quantizer, AdaptersAreMerged) {
  const TemporaryFolder folder;
  const auto bytes = layers().bytes();
  const gguf::File file = gguf::File::from_memory(bytes, "m");
  const std::string name = "blk.3.attn_q.weight";
  const auto one_bytes = adapter_bytes(name, 64, 256);
  const Adapter one = Adapter::from(gguf::File::from_memory(one_bytes, "one"), 0.25f);
  EXPECT_EQ(one.size(), 1u);
  const Adapter two = Adapter::from(gguf::File::from_memory(one_bytes, "two"), -0.5f);
  QuantizeOptions options;
  options.recipe = find_recipe("F32");
  options.adapters = {&one, &two};
  Quantizer(file, options).write(folder.path("q"));
  const gguf::File out = gguf::File::open(folder.path("q"));
  for (const TensorView& t : file.tensors()) {
    const TensorView& merged = out.tensor(t.name);
    for (std::size_t r = 0; r < t.rows; ++r) {
      for (std::size_t c = 0; c < t.cols; ++c) {
        float x = 0, y = 0;
        std::memcpy(&x, t.row(r) + 4 * c, 4);
        std::memcpy(&y, merged.row(r) + 4 * c, 4);
        // (0.25 - 0.5) * alpha / rank * (two of 0.5 * row)
        const float change = t.name == name ? -0.25f * 2 * static_cast<float>(r) : 0.0f;
        ASSERT_NEAR(y, x + change, 1e-5f) << t.name << " " << r;
      }
    }
  }
  const auto refused = [&](const std::vector<std::byte>& adapter) {
    return code_of([&] {
      const Adapter wrong = Adapter::from(gguf::File::from_memory(adapter, "wrong"));
      options.adapters = {&wrong};
      Quantizer(file, options);
    });
  };
  EXPECT_EQ(refused(adapter_bytes(name, 64, 256, "llama")), ErrorCode::kUnsupported);
  EXPECT_EQ(refused(adapter_bytes(name, 32, 256)), EngineErrorCode::kBadShape);
  EXPECT_EQ(refused(adapter_bytes(name, 64, 128)), EngineErrorCode::kBadShape);
  EXPECT_EQ(refused(adapter_bytes(name, 64, 256, "gemma", 3)), EngineErrorCode::kBadShape);
  EXPECT_EQ(refused(adapter_bytes("blk.99.attn_q.weight", 64, 256)), ErrorCode::kMissingTensor);
  EXPECT_EQ(refused(bytes), ErrorCode::kUnsupported);
}

TEST(Quantizer, FailuresLeaveNothing) {
  const TemporaryFolder folder;
  FloatFile f = layers();
  const auto write = [&](const QuantizeOptions& options) {
    const auto bytes = f.bytes();
    const gguf::File file = gguf::File::from_memory(bytes, "m");
    const Quantizer quantizer(file, options);
    const ErrorCode code = code_of([&] { quantizer.write(folder.path("q")); });
    EXPECT_TRUE(std::filesystem::is_empty(folder.path("")));
    return code;
  };
  QuantizeOptions options;
  options.recipe = find_recipe("Q4_K_M");
  const std::atomic<bool> cancelled = true;
  options.cancel = &cancelled;
  EXPECT_EQ(write(options), EngineErrorCode::kCancelled);
  options.cancel = nullptr;
  f.floats(2)[300] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(write(options), EngineErrorCode::kNotFinite);
  f.floats(2)[300] = 1e6f;  // beyond float16
  options.recipe = find_recipe("F16");
  EXPECT_EQ(write(options), EngineErrorCode::kNotFinite);
}

}  // namespace
}  // namespace gemma
