// URLs, and references in them: whatever comes, what is taken is clean, and what a reference leads
// to is a URL that leads to itself.
//
// sources: src/http/url.cc
#include <http/url.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

using namespace weft;

static void require(bool is)
{
    if (!is)
        abort();
}

static void check_clean(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        require(text[i] > ' ' && text[i] <= '~');
}

// No segment of its path is . or .. .
static void check_path(const url *u)
{
    std::string path(u->target, u->size);
    path = path.substr(0, path.find('?')) + "/";
    require(path.find("/./") == path.npos && path.find("/../") == path.npos);
}

static bool parse(url *u, const char *text)
{
    errno = 0;
    if (url_parse(u, text) != 0) {
        require(errno == EINVAL || errno == EPROTONOSUPPORT || errno == ENAMETOOLONG);
        return false;
    }
    require(strncmp(u->address, "tcp:", 4) == 0 || strncmp(u->address, "unix:", 5) == 0);
    require(strpbrk(u->host, "@/?#\\%") == nullptr && u->host[0] != 0);
    check_clean(u->address, strlen(u->address));
    check_clean(u->host, strlen(u->host));
    check_clean(u->target, u->size);
    require(u->target >= text && u->target + u->size <= text + strlen(text));
    return true;
}

// In memory of its own, so that a byte too many is seen.
static bool resolve(std::string *to, size_t room, const char *base, const char *reference)
{
    char *memory = static_cast<char *>(malloc(room));
    errno = 0;
    bool well = url_resolve(memory, room, base, reference) == 0;
    require(well ? strlen(memory) < room : errno == EINVAL || errno == ENAMETOOLONG);
    if (well)
        *to = memory;
    free(memory);
    return well;
}

extern "C" int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    std::string all(reinterpret_cast<const char *>(data), size), whole, again;
    size_t cut = all.find('\n');
    std::string base = all.substr(0, cut).c_str();
    std::string reference = cut == all.npos ? "" : all.substr(cut + 1).c_str();
    url u;
    if (!parse(&u, base.c_str()) ||
        !resolve(&whole, 3 * size + 64, base.c_str(), reference.c_str()))
        return 0;
    check_clean(whole.data(), whole.size());
    resolve(&again, whole.size() / 2 + 1, base.c_str(), reference.c_str());
    if (!parse(&u, whole.c_str()))
        return 0;
    check_path(&u);
    require(resolve(&again, 3 * size + 64, whole.c_str(), "") && again == whole);
    return 0;
}
