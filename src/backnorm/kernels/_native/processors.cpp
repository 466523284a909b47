#include "processors.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace backnorm {
namespace {

// Long enough for the next part of a call, and for the next call of a loop; short beside the time that waking takes.
constexpr std::chrono::microseconds usual_spin(50), active_spin(10000);

// The processors on which this process may run.
int allowed_processors() {
#if defined(__linux__)
    for (int count = 1024; count <= 1 << 20; count *= 2) {  // the set must be as large as the system's
        std::vector<cpu_set_t> set(size_t(count) / CPU_SETSIZE + 1);
        const size_t bytes = set.size() * sizeof(cpu_set_t);
        if (sched_getaffinity(0, bytes, set.data()) == 0) return std::max(1, CPU_COUNT_S(bytes, set.data()));
    }
#endif
    return std::max(1, int(std::thread::hardware_concurrency()));
}

int rounded_up(double quota, double period) {
    return quota > 0 && period > 0 ? std::max(1, int(std::min(std::ceil(quota / period), 1e6))) : 0;
}

// The limit in one folder: cpu.max has "quota period" or "max period"; the older form has a file for each, and -1.
int limit_in(const std::string& folder) {
    double quota = 0, period = 0;
    std::ifstream both(folder + "/cpu.max");
    if (both) return both >> quota >> period ? rounded_up(quota, period) : 0;
    std::ifstream first(folder + "/cpu.cfs_quota_us"), second(folder + "/cpu.cfs_period_us");
    return first >> quota && second >> period ? rounded_up(quota, period) : 0;
}

int smaller(int one, int other) { return one == 0 ? other : other == 0 ? one : std::min(one, other); }

// The smallest limit of a group and of those that it is in.
int limit_up_from(const std::string& mount, std::string group) {
    int least = limit_in(mount);
    while (!group.empty()) {
        least = smaller(least, limit_in(mount + group));
        group.erase(std::min(group.rfind('/'), group.size()));
    }
    return least;
}

}  // namespace

int group_limit(const std::string& groups, const std::string& mount) {
    int least = 0;
    std::ifstream lines(groups);
    for (std::string line; std::getline(lines, line);) {  // "number:controllers:/group"
        const size_t first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1), group = line.substr(second + 1);
        if (controllers.empty()) least = smaller(least, limit_up_from(mount, group));
        std::istringstream names(controllers);
        for (std::string name; std::getline(names, name, ',');)
            if (name == "cpu") least = smaller(least, limit_up_from(mount + "/" + controllers, group));
    }
    return least;
}

int first_count(const char* value) {
    if (!value) return 0;
    char* end;
    const long count = std::strtol(value, &end, 10);
    end += std::strspn(end, " \t");
    return count < 1 || (*end && *end != ',') ? 0 : int(std::min(count, 1L << 30));
}

int default_thread_count() {
    static const int count = [] {
        const int told = first_count(std::getenv("OMP_NUM_THREADS")), most = first_count(std::getenv("OMP_THREAD_LIMIT"));
        const int found = told ? told : smaller(allowed_processors(), group_limit("/proc/self/cgroup", "/sys/fs/cgroup"));
        return smaller(found, most);
    }();
    return count;
}

std::chrono::microseconds idle_spin() {
    static const auto time = [] {
        std::string policy = std::getenv("OMP_WAIT_POLICY") ? std::getenv("OMP_WAIT_POLICY") : "";
        for (char& letter : policy) letter = char(letter >= 'a' && letter <= 'z' ? letter - 'a' + 'A' : letter);
        return policy == "PASSIVE" ? std::chrono::microseconds(0) : policy == "ACTIVE" ? active_spin : usual_spin;
    }();
    return time;
}

}  // namespace backnorm
