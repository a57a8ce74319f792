// CLEAN
// FLAGS -std=c++17 -fsized-deallocation -pthread
// What the standard library makes and releases by operators: smart pointers, allocators, memory resources, the buffer
// of stable_sort, functions, exceptions, threads, streams.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <forward_list>
#include <functional>
#include <future>
#include <list>
#include <locale>
#include <map>
#include <memory>
#include <memory_resource>
#include <queue>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

struct alignas(64) Line {
    char bytes[64] = {};
};

static int pointers()
{
    std::unique_ptr<int[]> array(new int[100]());
    std::unique_ptr<Line[]> lines(new Line[3]);
    std::shared_ptr<int> one(new int(1));
    auto two = std::make_shared<std::string>(300, 'x');
    std::shared_ptr<int[]> many(new int[10]());
    auto line = std::make_shared<Line>();
    std::weak_ptr<std::string> weak = two;
    return array[5] + lines[1].bytes[0] + *one + int(two->size()) + many[3] + line->bytes[1] + int(weak.use_count());
}

static std::size_t containers()
{
    std::vector<Line> lines(7);
    std::vector<bool> bits(5000);
    std::map<std::string, std::vector<int>> map{{"a", {1, 2}}, {"b", {3}}};
    std::unordered_map<int, std::string> hash;
    for (int i = 0; i < 200; i++)
        hash[i] = std::string(i, 'h');
    std::list<Line> list(3);
    std::forward_list<int> forward{1, 2, 3};
    std::set<long> set{5, 4, 3};
    std::priority_queue<int> queue;
    for (int i = 0; i < 300; i++)
        queue.push(i * 7 % 100);
    std::deque<std::string> deque(40, std::string(50, 'd'));
    deque.erase(deque.begin() + 3, deque.begin() + 30);
    lines.shrink_to_fit();
    std::string text = "a text of a length that no small string holds";
    std::string moved = std::move(text);
    moved += moved;
    moved.shrink_to_fit();
    return lines.size() + bits.size() + map.size() + hash.size() + list.size() + set.size() + queue.size() +
           deque.size() + moved.size() + forward.front();
}

static int resources()
{
    std::pmr::monotonic_buffer_resource monotonic;
    std::pmr::unsynchronized_pool_resource pool;
    std::pmr::synchronized_pool_resource shared;
    std::pmr::vector<int> numbers(&monotonic);
    std::pmr::list<std::pmr::string> words(&pool);
    std::pmr::map<int, Line> lines(&shared);
    for (int i = 0; i < 100; i++) {
        numbers.push_back(i);
        words.emplace_back(i, 'w');
        lines[i];
    }
    std::pmr::vector<Line> wide(5, std::pmr::new_delete_resource());
    return int(numbers.size() + words.size() + lines.size() + wide.size());
}

static int sorting()
{
    std::vector<std::pair<int, std::string>> items;
    for (int i = 0; i < 500; i++)
        items.emplace_back(i * 37 % 50, std::to_string(i));
    std::stable_sort(items.begin(), items.end(), [](auto &a, auto &b) { return a.first < b.first; });
    std::inplace_merge(items.begin(), items.begin() + 250, items.end());
    std::stable_partition(items.begin(), items.end(), [](auto &item) { return item.first % 2; });
    return items.front().first;
}

static int functions()
{
    Line big;
    std::function<int(int)> f = [big](int x) { return x + big.bytes[0]; };
    std::function<int(int)> g = f;
    std::packaged_task<int()> task([] { return 3; });
    std::future<int> later = task.get_future();
    task();
    std::promise<std::string> promise;
    promise.set_value("kept");
    return f(1) + g(2) + later.get() + int(promise.get_future().get().size());
}

static std::string throwing()
{
    try {
        try {
            throw std::runtime_error(std::string(80, 'e'));
        } catch (...) {
            std::throw_with_nested(std::logic_error("outer"));
        }
    } catch (const std::exception &error) {
        std::exception_ptr held = std::current_exception();
        return error.what();
    }
}

static int threads()
{
    int sum = 0;
    std::thread thread([&sum] { sum += 1; });
    thread.join();
    std::vector<std::thread> several;
    for (int i = 0; i < 3; i++)
        several.emplace_back([text = std::string(100, 't')] { return text.size(); });
    for (auto &one : several)
        one.join();
    return sum + std::async(std::launch::async, [] { return 41; }).get();
}

static std::string streams()
{
    std::ostringstream out;
    out.imbue(std::locale::classic());
    out << "a line of text, " << 3.25 << ", " << 42 << '\n';
    std::istringstream in(out.str());
    std::string word;
    std::getline(in, word, ',');
    return std::regex_replace(word, std::regex("l(in)e"), "[$1]");
}

int main()
{
    std::printf("%d %zu %d\n", pointers(), containers(), resources());
    std::printf("%d %d %s %d\n", sorting(), functions(), throwing().c_str(), threads());
    std::printf("%s\n", streams().c_str());
    return 0;
}
