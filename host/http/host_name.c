/* Host names as they are compared. */
#include "http/host_name.h"

#include <errno.h>
#include <idn2.h>
#include <stdio.h>

static bool is_ascii(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] >= 0x80)
            return false;
    }
    return true;
}

/* Of a name in another script, without star and port. */
static int convert(struct str name, char out[HOST_NAME_SIZE])
{
    char text[HOST_NAME_SIZE];
    uint8_t *ascii = NULL;
    if (name.len >= sizeof(text) || memchr(name.ptr, '\0', name.len) != NULL)
        return -EINVAL;
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    int rc = idn2_lookup_u8((const uint8_t *)text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (rc == IDN2_OK && strlen((const char *)ascii) < HOST_NAME_SIZE)
        memcpy(out, ascii, strlen((const char *)ascii) + 1);
    else
        rc = -EINVAL;
    idn2_free(ascii);
    return rc == IDN2_OK ? 0 : -EINVAL;
}

/* Where ":8080" begins; s.len where there is none. */
static size_t find_port(struct str s)
{
    size_t at = s.len;
    while (at > 0 && s.ptr[at - 1] != ':' && s.ptr[at - 1] != ']')
        at--;
    return at > 0 && s.ptr[at - 1] == ':' ? at - 1 : s.len;
}

int host_name_canonical(struct str name, char out[HOST_NAME_SIZE])
{
    char converted[HOST_NAME_SIZE];
    struct str star = {name.ptr, str_starts_with(name, STR("*.")) ? 2 : 0};
    struct str port = str_skip(name, find_port(name));
    struct str host = {name.ptr + star.len, name.len - star.len - port.len};
    if (!is_ascii(host)) {
        if (convert(host, converted) != 0)
            return -EINVAL;
        host = str_from(converted);
    }
    if (host.len > 1 && str_ends_with(host, STR(".")))
        host.len--;
    int len =
        snprintf(out, HOST_NAME_SIZE, "%.*s%.*s%.*s", STR_ARG(star), STR_ARG(host), STR_ARG(port));
    if (len <= 0 || len >= HOST_NAME_SIZE)
        return -EINVAL;
    str_lower(out, (size_t)len);
    return 0;
}

const char *host_name_library_version(void)
{
    return idn2_check_version(NULL);
}
