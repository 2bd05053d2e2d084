// Which shard a scheduler gave this process.
#include "examples/squad/cluster.hpp"

#include <map>

#include <gtest/gtest.h>

#include "gguf/error.hpp"

namespace gemma::squad {
namespace {

using Variables = std::map<std::string, std::string>;

/// "2/8", or what is wrong.
std::string shard(const std::string& text, const Variables& variables) {
  try {
    const Shard shard = choose_shard(text, [&](const char* name) {
      const auto found = variables.find(name);
      return found == variables.end() ? nullptr : found->second.c_str();
    });
    return std::to_string(shard.index) + "/" + std::to_string(shard.count);
  } catch (const Error& error) {
    return std::string(error.message());
  }
}

TEST(Cluster, EachSchedulersVariables) {
  const Variables slurm = {{"SLURM_ARRAY_TASK_ID", "3"}, {"SLURM_ARRAY_TASK_COUNT", "8"}};
  EXPECT_EQ(shard("auto", slurm), "3/8");
  EXPECT_EQ(shard("2/5", slurm), "2/5") << "what is said counts";
  Variables from_0 = slurm;
  from_0["SLURM_ARRAY_TASK_MIN"] = "0";
  EXPECT_EQ(shard("auto", from_0), "4/8");
  EXPECT_EQ(shard("auto/8", from_0), "4/8");
  EXPECT_EQ(shard("auto", {{"SLURM_ARRAY_TASK_ID", "25"},
                           {"SLURM_ARRAY_TASK_COUNT", "4"},
                           {"SLURM_ARRAY_TASK_MIN", "5"},
                           {"SLURM_ARRAY_TASK_STEP", "10"}}),
            "3/4");
  EXPECT_EQ(shard("auto/6", {{"JOB_COMPLETION_INDEX", "0"}}), "1/6");
  EXPECT_EQ(shard("auto/6", {{"JOB_COMPLETION_INDEX", "5"}}), "6/6");
  EXPECT_EQ(shard("auto", {{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "4"}}), "1/4");
  EXPECT_EQ(shard("auto", {{"PMI_RANK", "3"}, {"PMI_SIZE", "4"}}), "4/4");
  // part of an array, submitted again: tasks 3 and 7 of 8
  EXPECT_EQ(
      shard("auto/8",
            {{"SLURM_ARRAY_TASK_ID", "7"}, {"SLURM_ARRAY_TASK_COUNT", "2"}, {"SLURM_ARRAY_TASK_MIN", "3"}}),
      "7/8");
}

TEST(Cluster, RanksWithinTasks) {
  Variables both = {{"SLURM_ARRAY_TASK_ID", "2"},
                    {"SLURM_ARRAY_TASK_COUNT", "3"},
                    {"OMPI_COMM_WORLD_RANK", "1"},
                    {"OMPI_COMM_WORLD_SIZE", "4"}};
  EXPECT_EQ(shard("auto", both), "6/12");
  EXPECT_EQ(shard("auto/12", both), "6/12");
  EXPECT_EQ(shard("auto/10", both), "--shard auto: 10 shards for 4 ranks");
  both["OMPI_COMM_WORLD_SIZE"] = "1";
  both["OMPI_COMM_WORLD_RANK"] = "0";
  EXPECT_EQ(shard("auto", both), "2/3");
}

TEST(Cluster, NonsenseIsNamed) {
  const auto says = [](const std::string& text, const Variables& variables, const std::string& part) {
    const std::string message = shard(text, variables);
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  says("auto", {}, "no shard in the environment");
  says("auto/", {}, "a shard is i/N");
  says("auto/0", {}, "a shard is i/N");
  says("automatic", {}, "a shard is i/N");
  says("auto", {{"JOB_COMPLETION_INDEX", "2"}}, "the number of shards is not known");
  says("auto/2", {{"JOB_COMPLETION_INDEX", "2"}}, "JOB_COMPLETION_INDEX does not fit into 2");
  says("auto", {{"SLURM_ARRAY_TASK_ID", "x"}}, "SLURM_ARRAY_TASK_ID is 'x', no number");
  says("auto", {{"SLURM_ARRAY_TASK_ID", "2"}}, "SLURM_ARRAY_TASK_COUNT is not set");
  says("auto", {{"SLURM_ARRAY_TASK_ID", "9"}, {"SLURM_ARRAY_TASK_COUNT", "4"}}, "--shard auto/N");
  says("auto/4", {{"SLURM_ARRAY_TASK_ID", "0"}, {"SLURM_ARRAY_TASK_COUNT", "4"}}, "does not fit");
  says("auto", {{"PMI_RANK", "4"}, {"PMI_SIZE", "4"}}, "PMI_RANK does not fit");
  says("auto", {{"PMI_RANK", "-1"}, {"PMI_SIZE", "4"}}, "no number");
  says("auto", {{"PMI_RANK", "1"}}, "PMI_SIZE is not set");
  says("auto/3", {{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}}, "1 ranks are not 3 shards");
}

TEST(Cluster, TheDirectorysName) {
  EXPECT_EQ(with_shard("a/{shard}.{shard}", {12, 40}), "a/12.12");
  EXPECT_EQ(with_shard("a/b", {12, 40}), "a/b");
}

}  // namespace
}  // namespace gemma::squad
