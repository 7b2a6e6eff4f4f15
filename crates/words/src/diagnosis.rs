//! Every failure explains itself: an id, what happened, what it means, what to do, in Russian and English.
//!
//! A test holds each id to both languages.

/// A cause that people are told about, by a stable id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Diagnosis {
    /// A certificate or key file is missing, unreadable or does not fit.
    BadCertificate,
    /// The data folder cannot be written.
    DataUnwritable,
    /// The store does not take facts: new calls are refused.
    StoreFailing,
    /// A listener's address is taken by another program.
    PortInUse,
    /// All media ports or descriptors are in use.
    PortsExhausted,
    /// The other side offered no TLS version or cipher that we have.
    TlsNoCommonCipher,
    /// A peer showed a certificate of somebody else.
    TlsPeerOtherName,
    /// A peer showed a certificate that nobody we trust vouches for, or that is out of date.
    TlsPeerUntrusted,
    /// The other side does not trust our certificate.
    TlsUntrusted,
    /// The certificate of a peer is not verified, because somebody said so.
    TlsUnverified,
    /// The limits of the host allow fewer calls than configured.
    CapacityLow,
    /// A configured address is none of the host's.
    AddressNotOwned,
    /// The process may not put a programme into the kernel.
    KernelTierForbidden,
    /// The kernel carries as many flows of media as it may.
    KernelTierFull,
    /// Somebody else's programme is where ours would be.
    KernelTierOccupied,
    /// The kernel cannot forward audio by itself.
    KernelTierUnsupported,
    /// The kernel keeps fewer datagrams for us than a flood brings while the loop is busy.
    ReceiveBufferSmall,
}

/// A language of the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    En,
    /// Russian.
    Ru,
}

/// What a person reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// What happened.
    pub what: &'static str,
    /// What it means for the office.
    pub means: &'static str,
    /// What to do.
    pub todo: &'static str,
}

impl Diagnosis {
    /// All of them, in the order of their ids.
    pub const ALL: [Diagnosis; 17] = [
        Diagnosis::AddressNotOwned,
        Diagnosis::BadCertificate,
        Diagnosis::CapacityLow,
        Diagnosis::DataUnwritable,
        Diagnosis::KernelTierForbidden,
        Diagnosis::KernelTierFull,
        Diagnosis::KernelTierOccupied,
        Diagnosis::KernelTierUnsupported,
        Diagnosis::PortInUse,
        Diagnosis::PortsExhausted,
        Diagnosis::ReceiveBufferSmall,
        Diagnosis::StoreFailing,
        Diagnosis::TlsNoCommonCipher,
        Diagnosis::TlsPeerOtherName,
        Diagnosis::TlsPeerUntrusted,
        Diagnosis::TlsUntrusted,
        Diagnosis::TlsUnverified,
    ];

    /// The stable id that logs, API answers and support letters carry.
    pub const fn id(self) -> &'static str {
        match self {
            Diagnosis::AddressNotOwned => "address-not-owned",
            Diagnosis::BadCertificate => "bad-certificate",
            Diagnosis::CapacityLow => "capacity-low",
            Diagnosis::DataUnwritable => "data-unwritable",
            Diagnosis::KernelTierForbidden => "kernel-tier-forbidden",
            Diagnosis::KernelTierFull => "kernel-tier-full",
            Diagnosis::KernelTierOccupied => "kernel-tier-occupied",
            Diagnosis::KernelTierUnsupported => "kernel-tier-unsupported",
            Diagnosis::PortInUse => "port-in-use",
            Diagnosis::PortsExhausted => "ports-exhausted",
            Diagnosis::ReceiveBufferSmall => "receive-buffer-small",
            Diagnosis::StoreFailing => "store-failing",
            Diagnosis::TlsNoCommonCipher => "tls-no-common-cipher",
            Diagnosis::TlsPeerOtherName => "tls-peer-other-name",
            Diagnosis::TlsPeerUntrusted => "tls-peer-untrusted",
            Diagnosis::TlsUntrusted => "tls-untrusted",
            Diagnosis::TlsUnverified => "tls-unverified",
        }
    }

    /// Its text in `language`.
    pub const fn text(self, language: Language) -> Text {
        let (_, english, russian) = TEXTS[self as usize];
        match language {
            Language::En => english,
            Language::Ru => russian,
        }
    }
}

/// Each diagnosis with its text in English and in Russian, in the order of [`Diagnosis`].
const TEXTS: [(Diagnosis, Text, Text); Diagnosis::ALL.len()] = [
    (
        Diagnosis::BadCertificate,
        Text {
            what: "The TLS certificate or its key cannot be used.",
            means: "Phones cannot connect over TLS.",
            todo: "Check tls.certificate and tls.key, or remove both lines: a certificate is then made at the next start.",
        },
        Text {
            what: "Сертификат TLS или его ключ непригоден.",
            means: "Телефоны не могут подключиться по TLS.",
            todo: "Проверьте tls.certificate и tls.key или уберите обе строки: при следующем запуске сертификат создастся сам.",
        },
    ),
    (
        Diagnosis::DataUnwritable,
        Text {
            what: "The data folder cannot be written.",
            means: "Nothing can be recorded, so no call is taken.",
            todo: "Give the user that runs crosspoint write access, or name another folder with --data.",
        },
        Text {
            what: "В папку данных нельзя писать.",
            means: "Записать ничего нельзя, поэтому звонки не принимаются.",
            todo: "Дайте пользователю, от которого работает crosspoint, право записи или укажите другую папку через --data.",
        },
    ),
    (
        Diagnosis::StoreFailing,
        Text {
            what: "The database does not take records.",
            means: "New calls and registrations get 503; running calls go on.",
            todo: "Free space on the disk of the data folder and look at its health.",
        },
        Text {
            what: "База данных не принимает записи.",
            means: "Новые звонки и регистрации получают 503; идущие разговоры продолжаются.",
            todo: "Освободите место на диске с папкой данных и проверьте его исправность.",
        },
    ),
    (
        Diagnosis::PortInUse,
        Text {
            what: "The address is in use by another program.",
            means: "The exchange cannot listen there.",
            todo: "Stop the other program or choose another port.",
        },
        Text {
            what: "Адрес занят другой программой.",
            means: "Станция не может принимать на нём звонки.",
            todo: "Остановите ту программу или выберите другой порт.",
        },
    ),
    (
        Diagnosis::PortsExhausted,
        Text {
            what: "No media port is free.",
            means: "New calls get 503 until others end.",
            todo: "Widen media.ports or raise the limit of open files.",
        },
        Text {
            what: "Свободных портов для звука не осталось.",
            means: "Новые звонки получают 503, пока не закончатся другие.",
            todo: "Расширьте media.ports или поднимите предел открытых файлов.",
        },
    ),
    (
        Diagnosis::TlsNoCommonCipher,
        Text {
            what: "The phone and this server share no TLS version or cipher.",
            means: "The phone cannot connect over TLS.",
            todo: "Update the phone's firmware and switch TLS 1.2 on in it, or let it use TCP inside your network.",
        },
        Text {
            what: "У телефона и сервера нет общей версии TLS или шифра.",
            means: "Телефон не может подключиться по TLS.",
            todo: "Обновите прошивку телефона и включите в нём TLS 1.2 или используйте TCP внутри своей сети.",
        },
    ),
    (
        Diagnosis::TlsPeerOtherName,
        Text {
            what: "The peer showed a certificate that is not for its name.",
            means: "Calls to it are refused: somebody else may be there.",
            todo: "Name the peer by the domain in its certificate, ask its owner for a right one, or add it with --insecure.",
        },
        Text {
            what: "Сервер-партнёр показал сертификат на чужое имя.",
            means: "Звонки на него отклоняются: там может быть кто-то другой.",
            todo: "Укажите партнёра именем из его сертификата, попросите у владельца верный или добавьте с --insecure.",
        },
    ),
    (
        Diagnosis::TlsPeerUntrusted,
        Text {
            what: "The peer's certificate is not trusted: nobody we trust vouches for it, or it is out of date.",
            means: "Calls to it are refused: somebody else may be there.",
            todo: "Set tls.authorities to the file of its authority, ask its owner for a right one, or add it with --insecure.",
        },
        Text {
            what: "Сертификату сервера-партнёра нет доверия: за него никто не ручается или его срок вышел.",
            means: "Звонки на него отклоняются: там может быть кто-то другой.",
            todo: "Задайте в tls.authorities файл его центра, попросите у владельца верный или добавьте с --insecure.",
        },
    ),
    (
        Diagnosis::TlsUntrusted,
        Text {
            what: "The phone does not trust this server's certificate.",
            means: "The phone ends the connection.",
            todo: "Load the server's certificate into the phone, or switch 'Only accept trusted certificates' off in it.",
        },
        Text {
            what: "Телефон не доверяет сертификату этого сервера.",
            means: "Телефон закрывает соединение.",
            todo: "Загрузите сертификат сервера в телефон или выключите в нём «Принимать только доверенные сертификаты».",
        },
    ),
    (
        Diagnosis::TlsUnverified,
        Text {
            what: "The certificate of a peer is not verified.",
            means: "Calls to it are encrypted, but nobody knows for whom.",
            todo: "Remove the peer and add it again without --insecure; set tls.authorities where it has an authority of its own.",
        },
        Text {
            what: "Сертификат сервера-партнёра не проверяется.",
            means: "Звонки на него зашифрованы, но неизвестно для кого.",
            todo: "Удалите партнёра и добавьте заново без --insecure; если у него свой центр, задайте его в tls.authorities.",
        },
    ),
    (
        Diagnosis::CapacityLow,
        Text {
            what: "This host allows fewer calls than its port range.",
            means: "Calls above that number get 503.",
            todo: "Raise the named limit (descriptors: LimitNOFILE or ulimit -n; buffers: sysctl net.core.rmem_max).",
        },
        Text {
            what: "Этот компьютер допускает меньше звонков, чем портов в диапазоне.",
            means: "Звонки сверх этого числа получат 503.",
            todo: "Поднимите названный предел (файлы: LimitNOFILE или ulimit -n; буферы: sysctl net.core.rmem_max).",
        },
    ),
    (
        Diagnosis::AddressNotOwned,
        Text {
            what: "A configured address is none of this host's.",
            means: "Nothing can be heard or sent there.",
            todo: "Name an address that `ip address` shows, or 0.0.0.0 for all; sip.advertise is the one that phones outside see.",
        },
        Text {
            what: "Указанный в настройках адрес не принадлежит этому компьютеру.",
            means: "На нём нельзя ни слушать, ни отправлять.",
            todo: "Укажите адрес, который показывает `ip address`, или 0.0.0.0 для всех; адрес для внешних телефонов — sip.advertise.",
        },
    ),
    (
        Diagnosis::KernelTierForbidden,
        Text {
            what: "The process may not put a programme into the kernel.",
            means: "Audio goes by sockets: it works, and takes more of the processor.",
            todo: "Give it CAP_BPF and CAP_NET_ADMIN (systemd: AmbientCapabilities=), or set media.tier to \"batch\".",
        },
        Text {
            what: "Программе нельзя загружать код в ядро.",
            means: "Звук идёт через сокеты: всё работает, но процессор занят больше.",
            todo: "Дайте ей CAP_BPF и CAP_NET_ADMIN (systemd: AmbientCapabilities=) или задайте media.tier = \"batch\".",
        },
    ),
    (
        Diagnosis::KernelTierFull,
        Text {
            what: "The kernel forwards as many streams of audio as there is room for.",
            means: "Audio of further calls goes by sockets: it works, and takes more of the processor.",
            todo: "Nothing has to be done; spread the calls over more servers if this one has too much to do.",
        },
        Text {
            what: "Ядро передаёт столько потоков звука, на сколько в нём отведено места.",
            means: "Звук остальных разговоров идёт через сокеты: всё работает, но процессор занят больше.",
            todo: "Ничего делать не нужно; если серверу тяжело, распределите звонки между несколькими.",
        },
    ),
    (
        Diagnosis::KernelTierOccupied,
        Text {
            what: "Another programme sits on a network interface where ours would be.",
            means: "Audio on that interface goes by sockets: it works, and takes more of the processor.",
            todo: "Remove the other programme (`bpftool net` shows it), or leave media.xdp off.",
        },
        Text {
            what: "На сетевом интерфейсе уже стоит чужая программа ядра.",
            means: "Звук на этом интерфейсе идёт через сокеты: всё работает, но процессор занят больше.",
            todo: "Уберите чужую программу (её показывает `bpftool net`) или не включайте media.xdp.",
        },
    ),
    (
        Diagnosis::KernelTierUnsupported,
        Text {
            what: "This kernel cannot forward audio by itself.",
            means: "Audio goes by sockets: it works, and takes more of the processor.",
            todo: "Use Linux 5.12 or newer (6.6 is better) with CONFIG_BPF_SYSCALL, or set media.tier to \"batch\".",
        },
        Text {
            what: "Это ядро не умеет само передавать звук.",
            means: "Звук идёт через сокеты: всё работает, но процессор занят больше.",
            todo: "Нужен Linux 5.12 или новее (лучше 6.6) с CONFIG_BPF_SYSCALL; или задайте media.tier = \"batch\".",
        },
    ),
    (
        Diagnosis::ReceiveBufferSmall,
        Text {
            what: "The kernel keeps little of what comes in while the exchange is busy.",
            means: "Under a flood or a burst of calls requests of honest phones are lost, and come half a second later.",
            todo: "Raise the limit: sysctl -w net.core.rmem_max=16777216 (and in /etc/sysctl.d), or give the process CAP_NET_ADMIN.",
        },
        Text {
            what: "Пока станция занята, ядро хранит мало из того, что приходит.",
            means: "При атаке или всплеске звонков запросы честных телефонов теряются и приходят на полсекунды позже.",
            todo: "Поднимите предел: sysctl -w net.core.rmem_max=16777216 (и в /etc/sysctl.d) или дайте процессу CAP_NET_ADMIN.",
        },
    ),
];

const _: () = {
    let mut n = 0;
    while n < TEXTS.len() {
        assert!(TEXTS[n].0 as usize == n, "a text that is not in its diagnosis's place");
        n += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_unique_and_told_in_both_languages() {
        let mut ids: Vec<_> = Diagnosis::ALL.iter().map(|d| d.id()).collect();
        assert!(ids.is_sorted());
        ids.dedup();
        assert_eq!(ids.len(), Diagnosis::ALL.len());
        for d in Diagnosis::ALL {
            assert_ne!(d.text(Language::En).what, d.text(Language::Ru).what);
        }
    }
}
