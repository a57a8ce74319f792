#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <iostream>
#include <mutex>
#include <numeric>
#include <semaphore>
#include <barrier>
#include <latch>
#include <shared_mutex>
#include <stdexcept>
#include <thread>
#include <vector>

static thread_local std::vector<int> own{1, 2, 3};

static int sum_of(std::vector<int> numbers) {
    own.push_back(4);
    return std::accumulate(numbers.begin(), numbers.end(), static_cast<int>(own.size()));
}

int main() {
    std::mutex lock;
    std::condition_variable changed;
    bool ready = false;
    std::thread waiter([&] {
        std::unique_lock guard(lock);
        changed.wait(guard, [&] { return ready; });
        std::cout << "woken\n";
    });
    {
        std::lock_guard guard(lock);
        ready = true;
    }
    changed.notify_all();
    waiter.join();

    auto eager = std::async(std::launch::async, sum_of, std::vector<int>(10, 2));
    auto lazy = std::async(std::launch::deferred, sum_of, std::vector<int>(10, 3));
    std::cout << eager.get() << ' ' << lazy.get() << '\n';

    std::promise<int> promise;
    auto future = promise.get_future();
    std::thread thrower([&] { promise.set_exception(std::make_exception_ptr(std::runtime_error("from a thread"))); });
    try {
        future.get();
    } catch (const std::exception &error) {
        std::cout << error.what() << '\n';
    }
    thrower.join();

    std::packaged_task<int(int)> task([](int n) { return n * n; });
    auto squared = task.get_future();
    std::jthread runner(std::move(task), 12);
    std::cout << squared.get() << '\n';

    std::promise<void> nothing;
    auto late = nothing.get_future().wait_for(std::chrono::milliseconds(5)) == std::future_status::timeout;
    std::unique_lock guard(lock);
    auto timed = changed.wait_for(guard, std::chrono::milliseconds(5)) == std::cv_status::timeout;
    std::cout << late << timed << '\n';

    std::shared_mutex shared;
    std::atomic<int> count{0}, waits{0};
    std::counting_semaphore<2> places(2);
    std::barrier meeting(4);
    std::latch done(4);
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 4; i++)
            threads.emplace_back([&, i] {
                meeting.arrive_and_wait();
                places.acquire();
                if (i % 2) {
                    std::shared_lock reader(shared);
                    count++;
                } else {
                    std::unique_lock writer(shared);
                    count += 10;
                }
                places.release();
                done.count_down();
            });
        done.wait();
    }
    std::jthread stopped([&](std::stop_token token) {
        while (!token.stop_requested())
            waits++;
    });
    while (!waits)
        std::this_thread::yield();
    stopped.request_stop();
    stopped.join();
    waits = 0;
    std::thread notifier([&] { waits = 1; waits.notify_all(); });
    waits.wait(0);
    notifier.join();
    std::cout << count << ' ' << waits << '\n';
}
