// A program that uses the library under difficult conditions: compiled with -ffast-math and all warnings, in
// a project with folders of the same names as the library's, whose headers contain only #error (see run.sh).
// The promises of the headers hold nevertheless: the library refuses NaN and infinity, and gives the same
// bits for any number of threads.
//   strict_user MODEL.gguf QUESTION     prints an answer; on a broken promise, a line on standard error and
//                                       exit status 1
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include <gemma/gemma.hpp>
// <gguf/writer.hpp> would find the user's folder if that is searched first
#include <gemma/../gguf/writer.hpp>

namespace {

int broken = 0;

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  ++broken;
}

/// Whether f() throws an Error with this code.
template <typename F>
void refuses(gemma::ErrorCode code, const char* what, F f) {
  try {
    f();
  } catch (const gemma::Error& e) {
    expect(e.code() == code, what);
    return;
  }
  expect(false, what);
}

/// Sets the bits of x, about which the compiler can assume nothing under any flag.
void set_bits(float& x, std::uint32_t bits) {
  std::memcpy(&x, &bits, sizeof x);
}

void logits_that_are_none() {
  constexpr auto kCode = gemma::EngineErrorCode::kNotFinite;
  for (const std::uint32_t bits : {0x7FC00000u, 0xFFC00001u, 0x7F800001u, 0x7F800000u}) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{7}, std::size_t{63}}) {
      std::vector<float> logits(64, 1.0f);
      set_bits(logits[at], bits);
      refuses(kCode, "argmax", [&] { gemma::argmax(logits); });
      refuses(kCode, "log_sum_exp", [&] { gemma::log_sum_exp(logits); });
      refuses(kCode, "top_log_probabilities", [&] { gemma::top_log_probabilities(logits, 3); });
      gemma::Sampler sampler({.temperature = 0.8f});
      refuses(kCode, "Sampler::sample", [&] { sampler.sample(logits); });
    }
  }
  std::vector<float> none(64);
  for (float& x : none) set_bits(x, 0xFF800000u);  // all minus infinity
  refuses(kCode, "argmax of nothing", [&] { gemma::argmax(none); });
  none[5] = -1.0f;
  expect(gemma::argmax(none) == 5, "the only finite logit is taken");
}

void options_that_are_none() {
  constexpr auto kCode = gemma::ErrorCode::kInvalidArgument;
  float gemma::SamplerOptions::*const fields[] = {
      &gemma::SamplerOptions::temperature, &gemma::SamplerOptions::top_p, &gemma::SamplerOptions::min_p,
      &gemma::SamplerOptions::repeat_penalty};
  for (const auto field : fields) {
    for (const std::uint32_t bits : {0x7FC00000u, 0x7F800000u, 0xFF800000u}) {
      gemma::SamplerOptions options;
      set_bits(options.*field, bits);
      refuses(kCode, "options of a sampler", [&] { gemma::Sampler sampler(options); });
    }
  }
}

/// A copy of a model file with one number replaced by NaN: the value of `key`, or the first weight of the
/// tensor of that name, which must be stored as float32.
std::vector<std::byte> spoiled(const gemma::gguf::File& file, const std::string& key) {
  float nan = 0;
  set_bits(nan, 0x7FC00000u);
  gemma::gguf::Writer writer;
  for (const auto& [name, value] : file.metadata()) {
    if (name == key) {
      writer.add(name, nan);
    } else {
      writer.add(name, value);
    }
  }
  std::vector<std::byte> changed;
  for (const gemma::TensorView& t : file.tensors()) {
    const std::vector<std::size_t> shape(std::make_reverse_iterator(t.dims + t.n_dims),
                                         std::make_reverse_iterator(t.dims + 0));
    if (t.name == key) {
      changed.assign(t.data.begin(), t.data.end());
      std::memcpy(changed.data(), &nan, sizeof nan);
    }
    writer.add_tensor(t.name, t.type, shape, t.name == key ? std::span<const std::byte>(changed) : t.data);
  }
  return writer.bytes();
}

void models_that_are_none(const std::string& path) {
  const gemma::gguf::File file = gemma::gguf::File::open(path);
  const std::string prefix = file.get<std::string>("general.architecture") + ".";
  for (const std::string& key : {prefix + "attention.layer_norm_rms_epsilon", prefix + "rope.freq_base",
                                 std::string("output_norm.weight")}) {
    const std::vector<std::byte> bytes = spoiled(file, key);
    const char* what = key.c_str();
    refuses(gemma::ErrorCode::kMalformed, what,
            [&] { gemma::Model::from(gemma::gguf::File::from_memory(bytes, "spoiled")); });
  }
}

std::vector<float> logits_of(const gemma::Model& model, const std::vector<gemma::TokenId>& ids,
                             unsigned n_threads, std::size_t chunk) {
  gemma::Session session(model, {.n_ctx = 256, .chunk = chunk, .n_threads = n_threads});
  session.prefill(ids);
  return {session.logits().begin(), session.logits().end()};
}

void one_answer(const gemma::Model& model, const std::vector<gemma::TokenId>& ids) {
  const std::vector<float> alone = logits_of(model, ids, 1, 512);
  for (const unsigned n_threads : {2u, 3u}) {
    const std::vector<float> shared = logits_of(model, ids, n_threads, 7);
    expect(std::memcmp(alone.data(), shared.data(), alone.size() * sizeof(float)) == 0, "the same bits");
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 1;
  try {
    logits_that_are_none();
    options_that_are_none();
    models_that_are_none(argv[1]);
    const gemma::Model model = gemma::Model::load(argv[1]);
    const std::vector<gemma::Message> chat = {{"user", argv[2]}};
    const std::vector<gemma::TokenId> ids = model.encode_chat(chat);
    one_answer(model, ids);
    gemma::Session session(model, {.n_ctx = 256});
    session.prefill(ids);
    gemma::Sampler sampler({.temperature = 0.7f, .top_p = 0.95f, .seed = 1});
    std::puts(session.generate(sampler, {.max_tokens = 20}).text.c_str());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "strict_user: %s\n", e.what());
    return 1;
  }
  return broken == 0 ? 0 : 1;
}
