#include "examples/pipeline/step.hpp"

namespace gemma::app {

void Step::add(std::size_t sequence, std::span<const std::int32_t> ids, Logits logits) {
  parts.push_back({sequence, ids.size(), logits});
  tokens.insert(tokens.end(), ids.begin(), ids.end());
}

std::vector<StageChunk> Step::chunks() const {
  std::vector<StageChunk> out;
  std::size_t at = 0;
  for (const Part& p : parts) {
    out.push_back({p.sequence, std::span(tokens).subspan(at, p.n_tokens), p.logits});
    at += p.n_tokens;
  }
  return out;
}

std::vector<std::byte> Step::encode(std::span<const float> given) const {
  Writer w;
  w.put(static_cast<std::uint8_t>(wanted)).put(parts.size());
  for (const Part& p : parts) {
    w.put(p.sequence).put(p.n_tokens).put(static_cast<std::uint8_t>(p.logits));
  }
  return w.put_list(std::span(tokens)).put_list(given).take();
}

Step Step::decode(std::span<const std::byte> bytes) {
  Reader r(bytes);
  Step s;
  s.wanted = static_cast<Wanted>(r.get<std::uint8_t>());
  std::size_t n_tokens = 0;
  for (std::size_t n = r.get<std::size_t>(); n > 0; --n) {
    Part& p = s.parts.emplace_back();
    p.sequence = r.get<std::size_t>();
    p.n_tokens = r.get<std::size_t>();
    p.logits = static_cast<Logits>(r.get<std::uint8_t>());
    n_tokens += p.n_tokens;
  }
  s.tokens = r.get_list<std::int32_t>();
  s.rows = r.get_list<float>();
  if (n_tokens != s.tokens.size())
    throw Error(ErrorCode::kMalformed, "a step whose number of tokens is wrong");
  return s;
}

std::vector<std::byte> Hello::encode() const {
  return Writer().put_text(problem).put(fingerprint).put_text(isa).put_text(host).take();
}

Hello Hello::decode(std::span<const std::byte> bytes) {
  Reader r(bytes);
  Hello h;
  h.problem = r.get_text();
  h.fingerprint = r.get<std::uint64_t>();
  h.isa = r.get_text();
  h.host = r.get_text();
  return h;
}

std::vector<std::byte> Setup::encode() const {
  Writer w;
  w.put_list(std::span(cuts)).put(n_sequences).put(n_ctx).put(chunk).put(logit_rows);
  w.put(sampler.temperature).put(sampler.top_k).put(sampler.top_p).put(sampler.min_p);
  w.put(sampler.repeat_penalty).put(sampler.repeat_last).put(sampler.seed);
  return w.take();
}

Setup Setup::decode(std::span<const std::byte> bytes) {
  Reader r(bytes);
  Setup s;
  s.cuts = r.get_list<std::size_t>();
  s.n_sequences = r.get<std::size_t>();
  s.n_ctx = r.get<std::size_t>();
  s.chunk = r.get<std::size_t>();
  s.logit_rows = r.get<std::size_t>();
  SamplerOptions& o = s.sampler;
  o.temperature = r.get<decltype(o.temperature)>();
  o.top_k = r.get<decltype(o.top_k)>();
  o.top_p = r.get<decltype(o.top_p)>();
  o.min_p = r.get<decltype(o.min_p)>();
  o.repeat_penalty = r.get<decltype(o.repeat_penalty)>();
  o.repeat_last = r.get<decltype(o.repeat_last)>();
  o.seed = r.get<decltype(o.seed)>();
  return s;
}

std::vector<std::byte> Stats::encode() const {
  Writer w;
  w.put(begin).put(end).put(file_bytes).put(other_bytes).put(peak_bytes).put(busy_seconds);
  return w.take();
}

Stats Stats::decode(std::span<const std::byte> bytes) {
  Reader r(bytes);
  Stats s;
  s.begin = r.get<std::size_t>();
  s.end = r.get<std::size_t>();
  s.file_bytes = r.get<std::size_t>();
  s.other_bytes = r.get<std::size_t>();
  s.peak_bytes = r.get<std::size_t>();
  s.busy_seconds = r.get<double>();
  return s;
}

}  // namespace gemma::app
