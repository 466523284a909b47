// How many threads the environment and the system allow, and how they wait.
#pragma once

#include <chrono>
#include <string>

namespace backnorm {

// OMP_NUM_THREADS, or else one for each processor that this process may use; OMP_THREAD_LIMIT at most. Read once, in the
// first call that needs it.
int default_thread_count();

// How long a thread without work spins before it sleeps: OMP_WAIT_POLICY.
std::chrono::microseconds idle_spin();

// OMP_WAIT_POLICY=active: no other process wants the processors.
inline bool processors_are_ours() { return idle_spin() > std::chrono::milliseconds(1); }

// The processors whose time a control group allows, rounded up; 0 where nothing limits it. `groups` is the file in
// which the system lists the groups of this process, `mount` the folder of their files.
int group_limit(const std::string& groups, const std::string& mount);

// The number of threads in the value of an environment variable, which may be a list, one for each level; 0 if there
// is none.
int first_count(const char* value);

}  // namespace backnorm
