// Containers made with new and never deleted: what they hold is lost with them.
#include <cstdio>
#include <map>
#include <string>
#include <vector>

__attribute__((noinline)) static size_t forget_string(const char *text)
{
    std::string *s = new std::string; // EXPECT leak definitely-lost bytes=32 blocks=1
    s->assign(text); // EXPECT leak indirectly-lost bytes=47 blocks=1
    return s->size();
}

__attribute__((noinline)) void count_up(std::vector<int> &v)
{
    for (size_t i = 0; i < v.size(); i++)
        v[i] = static_cast<int>(i);
}

__attribute__((noinline)) static int forget_vector(int n)
{
    std::vector<int> *v = new std::vector<int>; // EXPECT leak definitely-lost bytes=24 blocks=1
    v->resize(n); // EXPECT leak indirectly-lost bytes=400 blocks=1
    count_up(*v);
    return v->back();
}

__attribute__((noinline)) static size_t forget_map()
{
    std::map<int, int> *m = new std::map<int, int>; // EXPECT leak definitely-lost bytes=48 blocks=1
    for (int i = 0; i < 5; i++)
        (*m)[i * 7 % 5] = i; // EXPECT leak indirectly-lost bytes=200 blocks=5
    return m->size();
}

__attribute__((noinline)) static size_t correct()
{
    std::map<std::string, std::vector<int>> index;
    for (const char *word : {"alpha", "beta", "a word that is too long for the small string"})
        index[word].push_back(1);
    index["beta"].push_back(2);
    return index["beta"].size();
}

int main()
{
    size_t a = forget_string("a text that is much too long to be kept inside");
    int b = forget_vector(100);
    std::printf("%zu %d %zu %zu\n", a, b, forget_map(), correct());
    return 0;
}
