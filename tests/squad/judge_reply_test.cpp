// What is read as a ranking in the replies of chat models, and what is not.
#include "examples/squad/judge_reply.hpp"

#include <gtest/gtest.h>

namespace gemma::squad {
namespace {

TEST(RankingIn, ThoughtsFencesAndLastLines) {
  const char* const kRankings[] = {
      "3,1,2",
      "<think>1 is bad: 1, 2, 3?</think>3,1,2",
      "<think>\n2,1,3\n</think>\n\n{\"rank\": \"3,1,2\"}",
      "it is late</think>\n3, 1, 2",
      "```json\n{\"rank\": [3,1,2]}\n```",
      "```\n3,1,2\n```",
      "```3,1,2```",
      "<think>```1,2,3```</think>Here it is:\n```json\n{\"rank\":\"3,1,2\"}\n```\nI hope this helps.",
      "ID 3 says it, ID 1 nearly.\n\n**Ranking: 3, 1, 2**",
      "So I rank them:\n3 > 1 > 2.\n",
      "The third is right.\n{\"rank\": [3, 1, 2]}",
      "Ranking: 3,1,2",
      "```json {\"rank\": [3,1,2]} ```",
      "My ranking is {\"rank\": [3, 1, 2]}. I hope this helps.",
      "312"};
  for (const char* good : kRankings) {
    EXPECT_EQ(ranking_in(good, 3), (std::vector<double>{2, 3, 1})) << good;
  }
}

TEST(RankingIn, PlainTexts) {
  const std::vector<double> ranks = {2, 1, 3};
  for (const char* good :
       {"2,1,3", "2, 1, 3", "213", "2 > 1 > 3", "[2,1,3]", "[\"2\",\"1\",\"3\"]", " 2;1;3\n"}) {
    EXPECT_EQ(ranking_in(good, 3), ranks) << good;
  }
  for (const char* bad : {"", "2,1", "2,1,3,3", "2,2,1", "0,1,2", "1,2,4", "the second", "2,1,3 because",
                          "21,3", "1-2-3", "99999999999999999999,1,2"}) {
    EXPECT_TRUE(ranking_in(bad, 3).empty()) << bad;
  }
  EXPECT_EQ(ranking_in("3,1,2", 3), (std::vector<double>{2, 3, 1}));  // ID 3 is the best
}

TEST(RankingIn, WhatCouldBeReadInTwoWaysIsNone) {
  const char* const kOthers[] = {"",
                                 "<think>3,1,2",
                                 "<think>3,1,2</think>",
                                 "The best is 3, then 1, then 2.",
                                 "3,1,2\nor rather the other way round",
                                 "The area is 312",
                                 "Area: 312",
                                 "```\n3,1\n```",
                                 "{\"rank\": \"3,1\"}",
                                 "{\"rank\": [3,1,2]} or {\"rank\": [1,2,3]}?",
                                 "{\"ranking\": \"3,1,2\"}",
                                 "```",
                                 "``````",
                                 "`````",
                                 "{\"rank\": [3,1,-2]}",
                                 "{\"rank\": [[3],1,2]}"};
  for (const char* bad : kOthers) EXPECT_TRUE(ranking_in(bad, 3).empty()) << bad;
}

}  // namespace
}  // namespace gemma::squad
