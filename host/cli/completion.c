/* luafn completion: scripts for shells, made from the table of commands.
 *
 * Options are found in a command's usage line, so that there is one place that names them. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

/* Takes the next "--option" off *text; false when there is none. */
static bool next_option(const char **text, char *out, size_t size)
{
    const char *at = strstr(*text, "--");
    if (at == NULL)
        return false;
    size_t len = 2;
    while (isalnum((unsigned char)at[len]) || at[len] == '-')
        len++;
    snprintf(out, size, "%.*s", (int)len, at);
    *text = at + len;
    return true;
}

/* The names of the functions of this folder, a line each. */
#define FUNCTIONS                                                                                  \
    "luafn routes --json 2>/dev/null | grep -o '\"function\":\"[^\"]*' | cut -d'\"' -f4"
/* The same inside single quotes of fish. */
#define FUNCTIONS_QUOTED                                                                           \
    "luafn routes --json 2>/dev/null | grep -o \\'\"function\":\"[^\"]*\\' | cut -d\\'\"\\' -f4"

static bool has_files(const struct command *command)
{
    return strstr(command->arguments, "FILE") != NULL;
}

static void print_commands(void)
{
    for (const struct command *const *c = cli_commands; *c != NULL; c++)
        printf("%s ", (*c)->name);
}

static void print_options(const struct command *command)
{
    char option[64], seen[1024] = " ";
    for (const char *at = command->arguments; next_option(&at, option, sizeof(option));) {
        char word[72];
        snprintf(word, sizeof(word), " %s ", option);
        if (strstr(seen, word) != NULL)
            continue;
        printf("%s ", option);
        size_t used = strlen(seen);
        snprintf(seen + used, sizeof(seen) - used, "%s ", option);
    }
}

/* Words that follow an option or the command and are known: new --template, completion, help. */
static void print_bash(void)
{
    printf("# luafn: eval \"$(luafn completion bash)\"\n_luafn() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words='");
    print_commands();
    printf(
        "--version --help'\n    else\n        case $before in\n"
        "        --template) words='hello protected scope fetch background scheduled webhook' ;;\n"
        "        --log) words='json text none' ;;\n"
        "        --route) words=$(" FUNCTIONS ") ;;\n"
        "        help) words='");
    print_commands();
    printf("' ;;\n        completion) words='bash zsh fish' ;;\n"
           "        *) case ${COMP_WORDS[1]} in\n");
    for (const struct command *const *c = cli_commands; *c != NULL; c++) {
        printf("            %s) words='", (*c)->name);
        print_options(*c);
        printf("--help' ;;\n");
    }
    printf("            esac ;;\n        esac\n"
           "        [[ $before == invoke && $word != -* ]] && words=$(" FUNCTIONS ")\n    fi\n"
           "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
           "    if [ ${#COMPREPLY[@]} -eq 0 ]; then\n"
           "        compopt -o filenames 2>/dev/null\n"
           "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n    fi\n"
           "}\ncomplete -F _luafn luafn\n");
}

/* Text inside single quotes, where `quote` stands for one of its own. */
static void print_quoted(const char *text, const char *quote)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputs(quote, stdout);
        else
            putchar(*text);
    }
}

static void print_zsh(void)
{
    printf("#compdef luafn\n# luafn: eval \"$(luafn completion zsh)\"\n_luafn() {\n"
           "    local -a commands=(\n");
    for (const struct command *const *c = cli_commands; *c != NULL; c++) {
        printf("        '%s:", (*c)->name);
        print_quoted((*c)->summary, "'\\''");
        puts("'");
    }
    printf(
        "    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n        return\n    fi\n"
        "    case $words[CURRENT-1] in\n"
        "    --template) compadd hello protected scope fetch background scheduled webhook; return ;;\n"
        "    --log) compadd json text none; return ;;\n"
        "    --route) compadd -- ${(f)\"$(" FUNCTIONS ")\"}; return ;;\n"
        "    help) compadd ${commands%%%%:*}; return ;;\n"
        "    completion) compadd bash zsh fish; return ;;\n    esac\n    case $words[2] in\n");
    for (const struct command *const *c = cli_commands; *c != NULL; c++) {
        printf("    %s) compadd -- ", (*c)->name);
        print_options(*c);
        printf("--help%s ;;\n", has_files(*c) ? "; _files" : "");
    }
    printf(
        "    esac\n    [[ $words[2] == invoke && $CURRENT == 3 ]] && compadd -- ${(f)\"$(" FUNCTIONS
        ")\"}\n}\ncompdef _luafn luafn\n");
}

static void print_fish(void)
{
    printf("# luafn: luafn completion fish | source\ncomplete -c luafn -f\n"
           "complete -c luafn -n __fish_use_subcommand -l version\n");
    for (const struct command *const *c = cli_commands; *c != NULL; c++) {
        char option[64];
        printf("complete -c luafn -n __fish_use_subcommand -a %s -d '", (*c)->name);
        print_quoted((*c)->summary, "\\'");
        puts("'");
        for (const char *at = (*c)->arguments; next_option(&at, option, sizeof(option));) {
            const char *words =
                strcmp(option, "--template") == 0
                    ? " -xa 'hello protected scope fetch background scheduled webhook'"
                : strcmp(option, "--log") == 0   ? " -xa 'json text none'"
                : strcmp(option, "--route") == 0 ? " -xa '(" FUNCTIONS_QUOTED ")'"
                                                 : "";
            printf("complete -c luafn -n '__fish_seen_subcommand_from %s' -l %s%s%s\n", (*c)->name,
                   option + 2, words, has_files(*c) && words[0] == '\0' ? " -F" : "");
        }
    }
    printf("complete -c luafn -n '__fish_seen_subcommand_from invoke' -a '(" FUNCTIONS_QUOTED ")'\n"
           "complete -c luafn -n '__fish_seen_subcommand_from test' -F\n"
           "complete -c luafn -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n"
           "complete -c luafn -n '__fish_seen_subcommand_from help' -a '");
    print_commands();
    printf("'\n");
}

static int run(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    static const struct option options[] = {{NULL, OPTION_FLAG, NULL}};
    const char *shell = NULL;
    int rc = cli_parse(&command_completion, argc, argv, options, &shell, 1, NULL);
    if (rc != 0)
        return rc;
    if (shell == NULL)
        return cli_usage(&command_completion, "the shell is missing");
    for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++) {
        if (strcmp(shells[i].name, shell) == 0) {
            shells[i].print();
            return EXIT_GOOD;
        }
    }
    return cli_usage(&command_completion, "'%s' is not bash, zsh or fish", shell);
}

const struct command command_completion = {
    .name = "completion",
    .arguments = "bash|zsh|fish",
    .summary = "Prints a script that completes commands and options in a shell.",
    .help = "\n"
            "  bash  eval \"$(luafn completion bash)\" in ~/.bashrc\n"
            "  zsh   eval \"$(luafn completion zsh)\" in ~/.zshrc, after compinit\n"
            "  fish  luafn completion fish > ~/.config/fish/completions/luafn.fish\n"
            "\nExample:\n  eval \"$(luafn completion bash)\"\n",
    .run = run,
};
