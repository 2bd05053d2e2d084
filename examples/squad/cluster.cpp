#include "examples/squad/cluster.hpp"

#include <optional>

#include <boost/algorithm/string/replace.hpp>
#include <fmt/format.h>

#include "examples/numbers.hpp"
#include "examples/squad/fail.hpp"

namespace gemma::squad {
namespace {

/// Refuses the values of the scheduler.
template <typename... Args>
[[noreturn]] void refuse_auto(fmt::format_string<Args...> why, Args&&... args) {
  refuse("--shard auto: {}", fmt::format(why, std::forward<Args>(args)...));
}

/// The value of a variable as a number; nullopt: not set. Throws if it is not a number.
std::optional<std::size_t> find(const Environment& environment, const char* name) {
  const char* const value = environment(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  const std::string_view text(value);
  const auto number = app::parse_number<std::size_t>(text);
  constexpr std::size_t kMost = 1u << 30;
  if (!number || *number > kMost) refuse_auto("{} is {}, no number", name, quoted(text));
  return number;
}

/// The value of a variable that must be set.
std::size_t get(const Environment& environment, const char* name) {
  if (const auto number = find(environment, name)) return *number;
  refuse_auto("{} is not set", name);
}

/// An index of `count`, from 0.
struct Place {
  std::size_t index = 0, count = 1;
};

Place checked(const char* name, std::size_t index, std::size_t count) {
  if (index < count) return {index, count};
  refuse_auto("{} does not fit into {} shards", name, count);
}

/// The values of the first of these pairs that is set.
std::optional<Place> rank_of(const Environment& environment) {
  constexpr const char* kRanks[][2] = {{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
                                       {"PMI_RANK", "PMI_SIZE"}};
  for (const auto& [rank, size] : kRanks) {
    if (const auto index = find(environment, rank)) return checked(rank, *index, get(environment, size));
  }
  return std::nullopt;
}

/// `total`: number of tasks of the array, if the flag gives it.
std::optional<Place> task_of(const Environment& environment, std::optional<std::size_t> total) {
  constexpr const char *kSlurm = "SLURM_ARRAY_TASK_ID", *kKubernetes = "JOB_COMPLETION_INDEX";
  if (const auto id = find(environment, kSlurm)) {
    const std::size_t first = find(environment, "SLURM_ARRAY_TASK_MIN").value_or(1);
    if (total) return checked(kSlurm, *id - (first == 0 ? 0 : 1), *total);
    const std::size_t step = find(environment, "SLURM_ARRAY_TASK_STEP").value_or(1);
    const std::size_t count = get(environment, "SLURM_ARRAY_TASK_COUNT");
    if (*id < first || step == 0 || (*id - first) % step != 0 || (*id - first) / step >= count) {
      refuse_auto("{} {} is not one of the {} tasks from {} on: give the number of all tasks, --shard auto/N",
                  kSlurm, *id, count, first);
    }
    return Place{(*id - first) / step, count};
  }
  if (const auto index = find(environment, kKubernetes)) {
    if (!total)
      refuse_auto("{} is {}, but the number of shards is not known: give --shard auto/N", kKubernetes,
                  *index);
    return checked(kKubernetes, *index, *total);
  }
  return std::nullopt;
}

}  // namespace

Shard choose_shard(std::string_view text, const Environment& environment) {
  constexpr std::string_view kAuto = "auto";
  if (!text.starts_with(kAuto)) return parse_shard(text);
  text.remove_prefix(kAuto.size());
  std::optional<std::size_t> total;
  if (!text.empty()) total = parse_shard(fmt::format("1{}", text)).count;

  const std::optional<Place> rank = rank_of(environment);
  const auto [index, ranks] = rank.value_or(Place{});
  if (total && *total % ranks != 0) refuse_auto("{} shards for {} ranks", *total, ranks);
  if (total) *total /= ranks;
  const std::optional<Place> task = task_of(environment, total);
  if (!rank && !task) {
    refuse_auto(
        "no shard in the environment: neither SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX, "
        "OMPI_COMM_WORLD_RANK nor PMI_RANK is set");
  }
  const Place array = task.value_or(Place{});
  if (total && array.count != *total) refuse_auto("{} ranks are not {} shards", ranks, *total * ranks);
  return {array.index * ranks + index + 1, array.count * ranks};
}

std::string with_shard(const std::string& path, Shard shard) {
  return boost::replace_all_copy(path, "{shard}", std::to_string(shard.index));
}

}  // namespace gemma::squad
