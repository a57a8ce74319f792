#include <map>
#include <string>
#include <vector>

using Table = std::map<std::string, std::vector<int>>;

Table *build()
{
    auto *table = new Table;
    (*table)["primes"].push_back(2);
    return table;
}

int main() { build(); }
