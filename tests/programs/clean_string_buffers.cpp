// Strings and vectors that grow, shrink and move: all bytes they own are theirs to write.
// CLEAN
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

static std::string repeat(const std::string &word, int times)
{
    std::string result;
    for (int i = 0; i < times; i++)
        result += word;
    return result;
}

int main()
{
    size_t total = 0;
    for (int n = 0; n < 70; n++) {
        std::string text = repeat("ab", n);
        text.resize(text.capacity(), 'z'); // up to its last byte, and the terminator behind
        text.shrink_to_fit();
        text.insert(0, "front");
        total += text.size();

        std::vector<char> bytes(n);
        std::iota(bytes.begin(), bytes.end(), 0);
        bytes.reserve(3 * n + 1);
        while (bytes.size() < bytes.capacity())
            bytes.push_back('p');
        std::rotate(bytes.begin(), bytes.begin() + n / 2, bytes.end());
        total += bytes.size();

        std::vector<std::string> words(n % 7, text);
        words.emplace_back(std::move(text));
        std::sort(words.begin(), words.end());
        total += words.size();
    }
    std::ostringstream out;
    for (int i = 0; i < 1000; i++)
        out << i << ' ';
    std::printf("%zu %zu\n", total, out.str().size());
    return 0;
}
