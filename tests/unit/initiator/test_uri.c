/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma:// URIs. */
#include <errno.h>
#include <stdlib.h>

#include <rdisk/uri.h>
#include "tests/unit/support/unit.h"

static struct rdisk_uri uri;
static struct rdisk_error err;
static char seen[512];

static int note(void *opaque, const char *name, const char *value,
                struct rdisk_error *error)
{
    strcat(seen, name);
    strcat(seen, "=");
    strcat(seen, value);
    strcat(seen, ";");
    return strcmp(name, "stop")
               ? 0
               : rdisk_error_set(error, -ERANGE, "stopped by %s", value);
}

static int parse(const char *text)
{
    memset(&err, 0, sizeof(err));
    seen[0] = '\0';
    return rdisk_uri_parse(text, &uri, note, NULL, &err);
}

static void is(const char *text, const char *host, unsigned int port,
               const char *volume)
{
    CHECK_EQUAL(parse(text), 0);
    CHECK(!strcmp(uri.host, host));
    CHECK_EQUAL(uri.port, port);
    CHECK(!strcmp(uri.volume, volume));
}

static void refuses(const char *text, const char *words)
{
    CHECK_EQUAL(parse(text), -EINVAL);
    CHECK_EQUAL(err.code, -EINVAL);
    CHECK_SAYS(err.text, words);
}

static void plain(void)
{
    is("rdma://server/vol", "server", 7471, "vol");
    is("rdma://10.0.0.1/a.b_c-d+e@f,g", "10.0.0.1", 7471, "a.b_c-d+e@f,g");
}

static void port(void)
{
    is("rdma://server:1/vol", "server", 1, "vol");
    is("rdma://server:65535/vol", "server", 65535, "vol");
    refuses("rdma://server:0/vol", "port '0'");
    refuses("rdma://server:65536/vol", "port '65536'");
    refuses("rdma://server:/vol", "port ''");
    refuses("rdma://server:1x/vol", "port '1x'");
    refuses("rdma://server:-1/vol", "port '-1'");
    refuses("rdma://server:4294967297/vol", "port");
}

static void ipv6(void)
{
    is("rdma://[fe80::1]/vol", "fe80::1", 7471, "vol");
    is("rdma://[fe80::1%25eth0]:99/vol", "fe80::1%eth0", 99, "vol");
    refuses("rdma://[fe80::1/vol", "]");
    refuses("rdma://[fe80::1]x/vol", "not a port");
    refuses("rdma://[]/vol", "no host");
}

static void scheme(void)
{
    refuses("nbd://server/vol", "rdma://");
    refuses("rdma:/server/vol", "rdma://");
    refuses("", "rdma://");
}

static void host(void)
{
    char text[400] = "rdma://";

    refuses("rdma:///vol", "no host");
    memset(text + 7, 'h', 300);
    strcpy(text + 307, "/vol");
    refuses(text, "host name is longer");
}

static void user(void)
{
    refuses("rdma://alice@server/vol", "the user is an option");
    refuses("rdma://alice:secret@server:7471/vol", "user, 'alice', before");
    is("rdma://server/a@b", "server", 7471, "a@b");
}

static void volume(void)
{
    char text[400] = "rdma://h/";

    refuses("rdma://server", "names no volume");
    refuses("rdma://server/", "names no volume");
    refuses("rdma://server/?queues=2", "names no volume");
    refuses("rdma://server/a/b", "volume name");
    refuses("rdma://server/..", "volume name");
    refuses("rdma://server/%2e%2e", "volume name");
    refuses("rdma://server/a%2fb", "volume name");
    memset(text + 9, 'v', RDISK_VOLUME_NAME_MAX);
    CHECK_EQUAL(parse(text), 0);
    memset(text + 9, 'v', RDISK_VOLUME_NAME_MAX + 1);
    refuses(text, "longer");
}

static void escapes(void)
{
    is("rdma://s%65rver/v%6Fl", "server", 7471, "vol");
    refuses("rdma://server/v%", "percent-escape");
    refuses("rdma://server/v%4", "percent-escape");
    refuses("rdma://server/v%zz", "percent-escape");
    refuses("rdma://server/v%00l", "percent-escape");
}

static void options(void)
{
    is("rdma://server/vol?a=1&b=x%26y&c=", "server", 7471, "vol");
    CHECK(!strcmp(seen, "a=1;b=x&y;c=;"));
    is("rdma://server/vol?", "server", 7471, "vol");
    refuses("rdma://server/vol?a", "has no value");
    refuses("rdma://server/vol?a&b=1", "has no value");
}

static void option_refused(void)
{
    CHECK_EQUAL(parse("rdma://server/vol?stop=here&b=2"), -ERANGE);
    CHECK_SAYS(err.text, "stopped by here");
    CHECK(!strcmp(seen, "stop=here;"));
}

static void no_options_here(void)
{
    CHECK_EQUAL(rdisk_uri_parse("rdma://s/v?a=1", &uri, NULL, NULL, &err),
                -EINVAL);
    CHECK_SAYS(err.text, "?a=1");
}

static void fragment(void)
{
    refuses("rdma://server/vol#x", "fragment");
}

static void no_sentence_wanted(void)
{
    CHECK_EQUAL(rdisk_uri_parse("x", &uri, NULL, NULL, NULL), -EINVAL);
}

static void several(void)
{
    is("rdma://a,b:7472,[fe80::1%25eth0]:7473,[::1]/vol", "a", 7471, "vol");
    CHECK(!strcmp(uri.servers, "b:7472,[fe80::1%25eth0]:7473,[::1]"));
    is("rdma://[::1]:7,b/vol", "::1", 7, "vol");
    CHECK(!strcmp(uri.servers, "b"));
    is("rdma://a/vol", "a", 7471, "vol");
    CHECK(!strcmp(uri.servers, ""));
    is("rdma://a,b,c,d,e,f,g,h/vol", "a", 7471, "vol");
    refuses("rdma://a,b,c,d,e,f,g,h,i/vol", "more than 8 servers");
    refuses("rdma://a,/vol", "names no server after the last comma");
    refuses("rdma://a,,b/vol", "names no host");
    refuses("rdma://,b/vol", "names no host");
    refuses("rdma://a,b:0/vol", "port '0'");
    refuses("rdma://a,u@b/vol", "names a user");
}

static const struct unit_test tests[] = {
    { "a URI names several servers, each with its port", several },
    { "host and volume are enough", plain },
    { "a port is 1 to 65535", port },
    { "an IPv6 address stands in brackets", ipv6 },
    { "another scheme is refused", scheme },
    { "a URI without a host, or with too long a one, is refused", host },
    { "a user before the host is refused, and the error says where it "
      "belongs",
      user },
    { "a volume name outside the rules is refused, escaped or not", volume },
    { "percent-escapes are decoded, bad ones refused", escapes },
    { "each option is handed over, decoded", options },
    { "a refused option ends the parse with its sentence", option_refused },
    { "options are refused where none are understood", no_options_here },
    { "a fragment is refused", fragment },
    { "the sentence may be left out", no_sentence_wanted },
};

UNIT_SUITE("uri", tests)
