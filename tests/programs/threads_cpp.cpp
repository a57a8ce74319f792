// FLAGS -pthread
// std::thread and std::mutex: each worker keeps a result in a shared map by raw pointer; two are never deleted.
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

struct Result {
    int worker;
    long sum;
};

static std::mutex lock;

__attribute__((noinline)) static Result *compute(int worker)
{
    Result *result = new Result{worker, 0}; // EXPECT leak definitely-lost bytes=32 blocks=2
    std::vector<long> terms;
    for (int i = 0; i < 200; i++)
        terms.push_back(i * worker);
    for (long term : terms)
        result->sum += term;
    return result;
}

__attribute__((noinline)) static long run()
{
    std::map<int, Result *> results;
    std::vector<std::thread> workers;
    for (int w = 1; w <= 4; w++)
        workers.emplace_back([w, &results] {
            Result *result = compute(w);
            std::lock_guard<std::mutex> guard(lock);
            results[w] = result;
        });
    for (auto &worker : workers)
        worker.join();
    long total = 0;
    for (auto &[worker, result] : results) {
        total += result->sum;
        if (worker % 2)
            delete result;
    }
    return total;
}

int main()
{
    std::printf("%ld\n", run());
    return 0;
}
