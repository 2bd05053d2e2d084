// Quotas of control groups on simulated machines, and the number of cores that they allow.
#include "gemma/cpu_count.hpp"

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "tests/temporary_folder.hpp"

namespace gemma::detail {
namespace {

namespace fs = std::filesystem;

class Machine : public ::testing::Test {
 protected:
  void file(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  void mounts(const std::string& line) const {
    file("/proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + line + "\n");
  }
  double quota() const { return cpu_quota(root_); }

  const test::TemporaryFolder folder_;
  const std::string root_ = folder_.path();
};

TEST_F(Machine, WithoutControlGroupsThereIsNoQuota) {
  EXPECT_EQ(quota(), kNoQuota);
  file("/proc/self/cgroup", "0::/user.slice\n");
  EXPECT_EQ(quota(), kNoQuota);
  mounts("30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw");
  EXPECT_EQ(quota(), kNoQuota);
}

TEST_F(Machine, Version2OfAGroupAndThoseAboveIt) {
  mounts("30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw");
  file("/proc/self/cgroup", "0::/system.slice/engine.service\n");
  file("/sys/fs/cgroup/system.slice/engine.service/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), kNoQuota);
  file("/sys/fs/cgroup/system.slice/cpu.max", "350000 100000\n");
  EXPECT_DOUBLE_EQ(quota(), 3.5);
  file("/sys/fs/cgroup/system.slice/engine.service/cpu.max", "100000 50000\n");
  EXPECT_DOUBLE_EQ(quota(), 2);
}

// In a container with its own cgroup namespace, its group is at the mount point, with the path "/".
TEST_F(Machine, Version2InAContainer) {
  mounts("30 22 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw");
  file("/proc/self/cgroup", "0::/\n");
  file("/sys/fs/cgroup/cpu.max", "150000 100000\n");
  EXPECT_DOUBLE_EQ(quota(), 1.5);
  file("/proc/self/cgroup", "0::/../sibling\n");
  EXPECT_DOUBLE_EQ(quota(), 1.5);
}

// Without such a namespace, the mount point is the container's group, but the path is that of the host.
TEST_F(Machine, Version1InAContainer) {
  mounts(
      "31 22 0:27 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
      "32 22 0:28 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct");
  file("/proc/self/cgroup",
       "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/x\n");
  file("/sys/fs/cgroup/memory/cpu.cfs_quota_us", "100000\n");
  file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), kNoQuota);
  file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n");
  EXPECT_DOUBLE_EQ(quota(), 2);
  file("/proc/self/cgroup", "4:cpu,cpuacct:/docker/abc/inner\n");
  file("/sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_quota_us", "50000\n");
  file("/sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(quota(), 0.5);
  file("/proc/self/cgroup", "4:cpu,cpuacct:/elsewhere\n");  // a group outside the mount
  EXPECT_DOUBLE_EQ(quota(), 2);
}

TEST_F(Machine, Version1OnTheHostAndNonsense) {
  mounts("32 22 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu");
  file("/proc/self/cgroup", "4:cpu:/jobs/7\n");
  file("/sys/fs/cgroup/cpu/jobs/cpu.cfs_quota_us", "800000");
  file("/sys/fs/cgroup/cpu/jobs/cpu.cfs_period_us", "100000");
  EXPECT_DOUBLE_EQ(quota(), 8);
  for (const char* nonsense : {"", "x", "0", "-5", "100000000000000000000000000"}) {
    file("/sys/fs/cgroup/cpu/jobs/7/cpu.cfs_quota_us", nonsense);
    EXPECT_DOUBLE_EQ(quota(), 8) << nonsense;
  }
  file("/proc/self/cgroup", "nonsense\n4:cpu\n4:cpu:\n");
  EXPECT_EQ(quota(), kNoQuota);
}

TEST_F(Machine, CoresOfTheAffinityMask) {
  for (int cpu = 0; cpu < 8; ++cpu) {  // four cores of two threads each
    file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list",
         std::to_string(cpu % 4) + "," + std::to_string(cpu % 4 + 4) + "\n");
  }
  EXPECT_EQ(cores_among({0, 1, 2, 3, 4, 5, 6, 7}, root_), 4U);
  EXPECT_EQ(cores_among({1, 5}, root_), 1U);
  EXPECT_EQ(cores_among({0, 1, 2}, root_), 3U);
  EXPECT_EQ(cores_among({7, 8, 9, 10, 11}, root_), 5U);  // nothing is known of four of them
}

TEST(ThreadsFor, TheQuotaRoundedUpAtLeastOne) {
  EXPECT_EQ(threads_for(8, kNoQuota), 8U);
  EXPECT_EQ(threads_for(8, 2), 2U);
  EXPECT_EQ(threads_for(8, 1.5), 2U);
  EXPECT_EQ(threads_for(8, 0.25), 1U);
  EXPECT_EQ(threads_for(2, 64), 2U);
  EXPECT_EQ(threads_for(0, kNoQuota), 1U);
  EXPECT_GE(usable_core_count(), 1U);
}

}  // namespace
}  // namespace gemma::detail
