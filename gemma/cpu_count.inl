// Definitions of cpu_count.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>

#include <sched.h>

#include "../gguf/linkage.hpp"

namespace gemma::detail {

/// The mount point of a hierarchy of control groups, and the group of the process in it.
struct CgroupPlace {
  std::string mount;  // folder of the topmost visible group
  std::string path;   // from there to the process's group: "" or "/a/b"
};

/// The quota of one group in CPUs, from its files: `cpu.max` ("50000 100000", "max 100000") of version 2,
/// `cpu.cfs_quota_us` (-1: none) and `cpu.cfs_period_us` of version 1; kNoQuota without one.
GEMMA_INLINE double quota_of_group(const std::string& folder, bool is_v2) {
  double quota = -1, period = 0;
  if (is_v2) {
    std::ifstream(folder + "/cpu.max") >> quota >> period;
  } else {
    std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
    std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? quota / period : kNoQuota;
}

/// Whether `word` is one of the comma-separated words of `list`.
GEMMA_INLINE bool has_word(const std::string& list, const std::string& word) {
  return ("," + list + ",").find("," + word + ",") != std::string::npos;
}

/// The group of the process in its hierarchy, from /proc/self/cgroup: "0::/a/b" of version 2,
/// "4:cpu,cpuacct:/a" of version 1. False when the process is in none.
GEMMA_INLINE bool group_of_process(const std::string& root, bool is_v2, std::string& group) {
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (is_v2 ? !controllers.empty() : !has_word(controllers, "cpu")) continue;
    group = line.substr(second + 1);
    return true;
  }
  return false;
}

/// Looks the hierarchy up in /proc/self/mountinfo (proc(5)): a container often sees its own group, or the
/// whole hierarchy, at the mount point. False when it is not mounted.
GEMMA_INLINE bool find_cgroup(const std::string& root, bool is_v2, CgroupPlace& place) {
  std::string group;
  if (!group_of_process(root, is_v2, group)) return false;
  std::ifstream mounts(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::string id, parent, device, mount_root, mount, type, source, options;
    std::istringstream(line.substr(0, dash)) >> id >> parent >> device >> mount_root >> mount;
    std::istringstream(line.substr(dash + 3)) >> type >> source >> options;
    if (is_v2 ? type != "cgroup2" : type != "cgroup" || !has_word(options, "cpu")) continue;
    place.mount = root + mount;
    // the mounted folder is the group `mount_root`: groups above it are not visible
    const bool is_below = mount_root != "/" && (group + "/").rfind(mount_root + "/", 0) == 0;
    place.path = is_below ? group.substr(mount_root.size()) : mount_root == "/" ? group : "";
    if (place.path == "/" || place.path.rfind("/..", 0) == 0) place.path.clear();
    return true;
  }
  return false;
}

GEMMA_INLINE double cpu_quota(const std::string& root) {
  double least = kNoQuota;
  for (const bool is_v2 : {true, false}) {
    CgroupPlace place;
    if (!find_cgroup(root, is_v2, place)) continue;
    for (;;) {
      least = std::min(least, quota_of_group(place.mount + place.path, is_v2));
      if (place.path.empty()) break;
      place.path.erase(place.path.rfind('/') == std::string::npos ? 0 : place.path.rfind('/'));
    }
  }
  return least;
}

GEMMA_INLINE unsigned cores_among(const std::vector<int>& cpus, const std::string& root) {
  std::set<std::string> cores;
  for (const int cpu : cpus) {
    const std::string name = "cpu" + std::to_string(cpu);
    std::ifstream siblings(root + "/sys/devices/system/cpu/" + name + "/topology/thread_siblings_list");
    std::string core;
    if (!std::getline(siblings, core)) core = name;
    cores.insert(core);
  }
  return static_cast<unsigned>(cores.size());
}

GEMMA_INLINE unsigned threads_for(unsigned n_cores, double quota) {
  const double most = std::max(1.0, std::ceil(quota - 1e-6));
  return std::max(1u, most < n_cores ? static_cast<unsigned>(most) : n_cores);
}

GEMMA_INLINE unsigned usable_core_count() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return 1;  // more CPUs than the set can hold
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
  }
  return threads_for(cores_among(cpus, ""), cpu_quota(""));
}

}  // namespace gemma::detail
